"""`eval` as one call: models and images opened, run in one process or several, summed up, and judged."""

import contextlib
import dataclasses
import logging
import pathlib
from collections.abc import Generator, Iterator, Sequence

from deepvit.images.blocks import BlockDecoder
from deepvit.images.decode import default_workers
from deepvit.images.imagenet import open_dataset
from deepvit.images.real_labels import read_real_labels
from deepvit.images.sources import ImageSource, spread
from deepvit.progress import Advance
from deepvit.runtime.errors import InputError, printable

from ..models import OpenedModel, open_model, open_reference, preprocessing_breaches, require_same
from .block_store import Arrays
from .cluster import ClusterJob, records_of_cluster
from .evaluator import Evaluator
from .options import EvaluationOptions, EvaluationRequest
from .result import Evaluation
from .run_files import options_with_files
from .shards import run_shards

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contest:
    """The models and images of a request; `faults` are the differences of preprocessing, by model."""

    models: tuple[OpenedModel, ...]
    reference: OpenedModel | None
    source: ImageSource
    faults: tuple[tuple[str, ...], ...]

    @property
    def keys(self) -> list[list[str]]:
        """What tells the models and the reference from others."""
        return [each.contestant.key for each in self._all]

    @property
    def _all(self) -> tuple[OpenedModel, ...]:
        return (*self.models, *(() if self.reference is None else (self.reference,)))

    def evaluator(self, options: EvaluationOptions) -> Evaluator:
        reference = None if self.reference is None else self.reference.contestant
        return Evaluator([each.contestant for each in self.models], self.source, options, reference)

    def close(self) -> None:
        for each in self._all:
            each.session.close()


def open_request(request: EvaluationRequest) -> Contest:
    """Open what a request names.

    Raises:
        InputError, MissingError, DeviceError: A model, reference or dataset that cannot be opened.
    """
    with contextlib.ExitStack() as on_failure:

        def kept(model: OpenedModel) -> OpenedModel:
            on_failure.callback(model.session.close)
            return model

        models = tuple(
            kept(open_model(name, request.sessions, request.weights, request.preprocess_as)) for name in request.models
        )
        reference = open_reference(request.reference, models[0], request.sessions, request.weights)
        if reference is not None:
            kept(reference)
        if request.reference == "pytorch":
            for model in models[1:]:
                _require_same_weights(models[0], model)
        dataset = open_dataset(request.dataset, models[0].session.classes, policy=request.decoding)
        source = spread(dataset, request.limit)
        faults = tuple(() if reference is None else tuple(preprocessing_breaches(each, reference)) for each in models)
        on_failure.pop_all()
    return Contest(models=models, reference=reference, source=source, faults=faults)


def _require_same_weights(first: OpenedModel, other: OpenedModel) -> None:
    if first.weights_sha256 != other.weights_sha256:
        raise InputError(
            f"‹reference› pytorch: {other.name} was made from other weights than {first.name}; evaluate it by itself"
        )


def run_request(request: EvaluationRequest, contest: Contest, progress: Advance) -> Evaluation:
    """Run a request and return what it found of all models.

    Raises:
        InputError: No image could be used, a label that the models do not have, or the same evaluation is running.
        MissingError: The disk is full, or a process was killed.
    """
    real = None if request.real_labels is None else read_real_labels(request.real_labels, contest.source)
    contestants = [each.contestant for each in contest.models]
    reference = None if contest.reference is None else contest.reference.contestant
    with (
        options_with_files(request.options, contestants, reference, contest.source, request.keeping) as options,
        contextlib.closing(contest.evaluator(options)) as evaluator,
    ):
        missing = evaluator.missing()
        if request.keeping.resume:
            logger.warning("resuming: %d of %d blocks are there", evaluator.blocks - len(missing), evaluator.blocks)
        if request.shards.ray is not None:
            with contextlib.closing(_found_on_cluster(request, contest, missing)) as found:
                evaluator.note(found, progress)
        elif request.shards.count > 1 or request.shards.gpus:
            if options.journal is None:
                raise InputError("several processes share files in the cache folder; set DEEPVIT_CACHE to one")
            opener = ShardOpener(_request_of_shard(request, options, len(contest.source)), contest.keys)
            run_shards(evaluator, opener, request.shards, progress)
        else:
            evaluator.run(missing, progress)
        return evaluator.results(printable(request.dataset), real)


def _found_on_cluster(
    request: EvaluationRequest, contest: Contest, numbers: Sequence[int]
) -> Generator[tuple[int, bytes, Arrays], None, None]:
    """Yield blocks as actors find them; the reference is run there too, since kept logits are of this machine."""
    shards, opener = request.shards, ShardOpener(request, contest.keys)
    with contextlib.closing(contest.evaluator(request.options)) as evaluator:
        decode = BlockDecoder(contest.source, evaluator.croppings, request.options.batch_size)
    place = request.dataset if pathlib.Path(request.dataset).exists() else None
    assert shards.ray is not None
    yield from records_of_cluster(
        shards.ray, shards.actors, ClusterJob(decode=decode, opener=opener, place=place), numbers
    )


def _request_of_shard(request: EvaluationRequest, options: EvaluationOptions, images: int) -> EvaluationRequest:
    """Return the request that one of several processes opens: its share of the cores, and the run's own files."""
    processes = request.shards.count
    workers = default_workers(images) if options.workers is None else options.workers
    return dataclasses.replace(
        request,
        options=dataclasses.replace(options, workers=-(-workers // processes)),
        sessions=request.sessions.sharing(processes),
    )


@dataclasses.dataclass(frozen=True)
class ShardOpener:
    """Opens a request in another process; `keys` of the contest say what the journal's answers must come from.

    Called with a number, it shares the cores with so many others.

    Raises:
        InputError: Another model lies there now.
    """

    request: EvaluationRequest
    keys: Sequence[list[str]]

    @contextlib.contextmanager
    def __call__(self, share: int | None = None) -> Iterator[Evaluator]:
        request = self.request
        if share is not None:
            request = dataclasses.replace(request, sessions=request.sessions.sharing(share))
        with contextlib.closing(open_request(request)) as contest:
            for name, opened, expected in zip(self._names(), contest.keys, self.keys, strict=True):
                require_same(name, opened, expected)
            with contextlib.closing(contest.evaluator(self.request.options)) as evaluator:
                yield evaluator

    def _names(self) -> list[str]:
        """Return what the user calls the models and the reference."""
        return [*self.request.models, self.request.reference][: len(self.keys)]
