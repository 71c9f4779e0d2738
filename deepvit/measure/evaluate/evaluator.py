"""Accuracy on a labelled dataset, and agreement with a reference: several models in one pass over the images."""

import collections
import concurrent.futures
import contextlib
import time
from collections.abc import Generator, Sequence

import numpy as np
import numpy.typing as npt

from deepvit.images.sources import ImageSource, content_sha256
from deepvit.progress import Advance
from deepvit.runtime.errors import InputError, NonFiniteError
from deepvit.runtime.preprocess import Preprocessing, model_input
from deepvit.runtime.session import Session
from deepvit.runtime.tensors import Images, Logits

from ..models import Contestant
from .block_store import BlockStore
from .blocks import Block, count_blocks, decoded_blocks
from .crop_cache import cached_blocks
from .options import EvaluationOptions
from .result import Evaluation
from .scores import image_records
from .summary import REFERENCE, Pass, block_head, summarize

PREPARED_AHEAD = 2  # blocks whose inputs are made while the models run


class Evaluator:
    """One pass of several models over a labelled dataset, block by block, in any order and in several processes.

    Args:
        models: What is scored.
        source: Labelled images.
        options: How.
        reference: What all models are compared with; each crops as its own preprocessing says.

    Raises:
        InputError: No model, classes that differ, or a file of `options` that cannot be used.
    """

    def __init__(
        self,
        models: Sequence[Contestant],
        source: ImageSource,
        options: EvaluationOptions,
        reference: Contestant | None = None,
    ) -> None:
        self.models, self.reference = tuple(models), reference
        self._all = (*self.models, *(() if reference is None else (reference,)))
        _check_classes(self._all)
        self.source, self.options = source, options
        self._croppings = _distinct_croppings(self._all)
        self._journal = BlockStore(options.journal)
        self._reference_logits = BlockStore(options.reference_logits)
        self._content: str | None = None
        self.seconds = 0.0
        self._run_here = 0

    @property
    def blocks(self) -> int:
        return count_blocks(len(self.source), self.options.batch_size)

    def missing(self) -> list[int]:
        """Return the blocks that are not in the journal."""
        numbers = self._journal.numbers()
        return [number for number in range(self.blocks) if number not in numbers]

    def images_done(self) -> int:
        """Return how many images the blocks in the journal have."""
        numbers = self._journal.numbers()
        has_last = self.blocks - 1 in numbers
        short = self.blocks * self.options.batch_size - len(self.source)
        return len(numbers) * self.options.batch_size - (short if has_last else 0)

    def run(self, numbers: Sequence[int], progress: Advance | None = None) -> None:
        """Run blocks through every model, and note what comes out.

        Raises:
            InputError: A label that the models do not have.
            MissingError: The disk is full, or a decoding process was killed.
        """
        start, done = time.perf_counter(), self.images_done()
        with contextlib.closing(self._prepared(numbers)) as prepared:  # however it ends, its processes end with it
            for block, inputs in prepared:
                self._check_labels(block)
                self._journal.write(block.number, self._score(block, inputs))
                images = len(block.labels) + len(block.errors)
                self._run_here += images
                done += images
                if progress is not None:
                    progress(done, len(self.source))
        self.seconds += time.perf_counter() - start

    def note_time(self, seconds: float, images: int) -> None:
        """Add what other processes took, and how many images they ran or found corrupt."""
        self.seconds += seconds
        self._run_here += images

    def _blocks(self, numbers: Sequence[int]) -> Generator[Block, None, None]:
        options = self.options
        if options.crops is None:
            return decoded_blocks(self.source, self._croppings, numbers, options.batch_size, options.workers)
        if self._content is None:
            self._content = content_sha256(self.source)
        return cached_blocks(
            options.crops, self._content, self.source, self._croppings, numbers, options.batch_size, options.workers
        )

    def _prepared(self, numbers: Sequence[int]) -> Generator[tuple[Block, list[Images]], None, None]:
        """Yield blocks with each model's input, made in threads while other blocks run."""
        with (
            concurrent.futures.ThreadPoolExecutor(PREPARED_AHEAD) as pool,
            contextlib.closing(self._blocks(numbers)) as blocks,
        ):
            ahead: collections.deque[tuple[Block, concurrent.futures.Future[list[Images]]]] = collections.deque()
            for block in blocks:
                ahead.append((block, pool.submit(self._inputs, block)))
                if len(ahead) > PREPARED_AHEAD:
                    ready, inputs = ahead.popleft()
                    yield ready, inputs.result()
            for ready, inputs in ahead:
                yield ready, inputs.result()

    def _inputs(self, block: Block) -> list[Images]:
        input_by_key: dict[tuple[str, int], Images] = {}
        inputs = []
        for model in self._all:
            channels = model.session.input.channels
            key = (model.preprocessing.model_dump_json(), channels)
            if key not in input_by_key:
                place = next(i for i, each in enumerate(self._croppings) if each.crops_like(model.preprocessing))
                input_by_key[key] = model_input(block.crops[place], model.preprocessing, channels)
            inputs.append(input_by_key[key])
        return inputs

    def _score(self, block: Block, inputs: Sequence[Images]) -> dict[str, npt.NDArray[np.generic]]:
        """Return what the journal keeps of a block: its labels and faults, and each model's records and seconds."""
        records = block_head(block)
        if not len(block.labels):
            return records
        expected = None
        if self.reference is not None:
            expected = self._expected(block, self.reference, inputs[-1])
            records |= _prefixed(REFERENCE, image_records(expected, None))
        for place, model in enumerate(self.models):
            start = time.perf_counter()
            logits = run_unchecked(model.session, inputs[place])
            records[f"{place}.seconds"] = np.array(time.perf_counter() - start)
            records |= _prefixed(str(place), image_records(logits, expected))
        return records

    def _expected(self, block: Block, reference: Contestant, images: Images) -> Logits:
        """Return the reference's logits (n, classes), from its file where they are there."""
        arrays = self._reference_logits.read(block.number)
        if arrays is None:
            arrays = {"logits": run_unchecked(reference.session, images)}
            self._reference_logits.write(block.number, arrays)
        return arrays["logits"].astype(np.float32)

    def _check_labels(self, block: Block) -> None:
        classes = self._all[0].session.classes
        outside = np.flatnonzero((block.labels < 0) | (block.labels >= classes))
        if len(outside):
            first = outside[0]
            raise InputError(
                f"{self.source.name(int(block.indices[first]))} has label {block.labels[first]}, the model has "
                f"{classes} classes (0 to {classes - 1})"
            )

    def results(self, dataset: str, real: Sequence[Sequence[int]] | None = None) -> list[Evaluation]:
        """Sum up the whole journal, model by model; see `summarize`.

        Raises:
            InputError: No image could be used.
        """
        blocks = [block for number in range(self.blocks) if (block := self._journal.read(number)) is not None]
        assert len(blocks) == self.blocks, "every block must have been run"
        rate = self._run_here / self.seconds if self._run_here else None
        run = Pass(dataset=dataset, source=self.source, real=real, seconds=self.seconds, images_per_second=rate)
        return summarize(blocks, self.models, self.reference, run)

    def close(self) -> None:
        """Close the files; the sessions are the caller's."""
        self._journal.close()
        self._reference_logits.close()


def run_unchecked(session: Session, images: Images) -> Logits:
    """Return logits (n, classes) float32, not finite ones included."""
    try:
        return session.run(images)
    except NonFiniteError as error:
        return error.logits


def _check_classes(models: Sequence[Contestant]) -> None:
    if not models:
        raise InputError("nothing to evaluate; name a model")
    first = models[0]
    for model in models[1:]:
        if model.session.classes != first.session.classes:
            raise InputError(
                f"{model.name} has {model.session.classes} classes, {first.name} has {first.session.classes}; expected "
                "models of the same classes"
            )


def _distinct_croppings(models: Sequence[Contestant]) -> list[Preprocessing]:
    croppings: list[Preprocessing] = []
    for model in models:
        if not any(each.crops_like(model.preprocessing) for each in croppings):
            croppings.append(model.preprocessing)
    return croppings


def _prefixed(prefix: str, arrays: dict[str, npt.NDArray[np.generic]]) -> dict[str, npt.NDArray[np.generic]]:
    return {f"{prefix}.{name}": array for name, array in arrays.items()}
