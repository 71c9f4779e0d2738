"""Accuracy on a labelled dataset, and agreement with a reference: several models in one pass over the images."""

import collections
import contextlib
import logging
import time
from collections.abc import Callable, Generator, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from deepvit.images.blocks import Block, block_range, count_blocks, decoded_blocks, read_blocks_sha256, with_inputs
from deepvit.images.sources import ImageSource, fingerprint_sha256
from deepvit.progress import Advance
from deepvit.runtime.errors import InputError
from deepvit.runtime.preprocess import Preprocessing, model_input
from deepvit.runtime.session import Ended, Overlapping, Pending, Session, begin, runs_at_once, unchecked_result
from deepvit.runtime.session.tensors import Images, Logits

from ..models import Contestant
from .block_store import Arrays, BlockStore
from .crop_cache import cached_blocks
from .options import EvaluationOptions
from .result import Evaluation
from .scores import image_records
from .summary import REFERENCE, Pass, block_head, summarize

logger = logging.getLogger(__name__)


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
        self.croppings = _distinct_croppings(self._all)
        self._journal = BlockStore(options.journal)
        self._reference_logits = BlockStore(options.reference_logits)
        self._fingerprint: str | None = None
        self._sound: set[int] = set()  # blocks in the journal that are known to be of these images
        self._logits_refused = 0
        self.seconds = 0.0
        self._run_here = 0

    @property
    def blocks(self) -> int:
        return count_blocks(len(self.source), self.options.batch_size)

    def missing(self) -> list[int]:
        """Return the blocks that are not in the journal.

        Those that are there damaged, or of other images than the list now has, are taken out of it. All images of
        blocks that are there are read for that, and none decoded.
        """
        self._remove_unsound()
        numbers = self._numbers()
        return [number for number in range(self.blocks) if number not in numbers]

    def _remove_unsound(self) -> None:
        unknown = sorted(self._numbers() - self._sound)
        removed = 0
        for number, images in read_blocks_sha256(self.source, unknown, self.options.batch_size):
            if self._journal.read(number, images) is None:
                self._journal.remove(number)
                removed += 1
            else:
                self._sound.add(number)
        if removed:
            logger.warning("%d blocks of this evaluation were damaged or of other images; they are run anew", removed)

    def _numbers(self) -> set[int]:
        return self._journal.numbers() & set(range(self.blocks))

    def images_done(self) -> int:
        """Return how many images the blocks in the journal have."""
        numbers = self._numbers()
        has_last = self.blocks - 1 in numbers
        short = self.blocks * self.options.batch_size - len(self.source)
        return len(numbers) * self.options.batch_size - (short if has_last else 0)

    def run(self, numbers: Sequence[int], progress: Advance | None = None) -> None:
        """Run blocks through every model, and note what comes out.

        Raises:
            InputError: A label that the models do not have.
            MissingError: The disk is full, or a decoding process was killed.
        """
        with contextlib.closing(self._prepared(numbers)) as prepared:  # however it ends, its processes end with it
            found = ((block.number, block.sha256, records) for block, records in self._scored(prepared))
            self.note(found, progress)
        if self._logits_refused:
            logger.warning(
                "%d blocks of kept logits of %s were damaged or of other images; it was run anew on them",
                self._logits_refused,
                "the reference" if self.reference is None else self.reference.name,
            )
            self._logits_refused = 0

    def note(self, found: Iterable[tuple[int, bytes, Arrays]], progress: Advance | None = None) -> None:
        """Write blocks into the journal as they come: number, hash of the images and records of each.

        Raises:
            MissingError: The disk is full.
        """
        start, done = time.perf_counter(), self.images_done()
        for number, images_sha256, records in found:
            self._journal.write(number, images_sha256, records)
            self._sound.add(number)
            images = len(block_range(number, self.options.batch_size, len(self.source)))
            self._run_here += images
            done += images
            if progress is not None:
                progress(done, len(self.source))
        self.seconds += time.perf_counter() - start

    def record(self, block: Block) -> Arrays:
        """Run a block that was decoded elsewhere, and return what the journal keeps of it.

        Raises:
            InputError: A label that the models do not have.
        """
        self._check_labels(block)
        inputs = self._inputs(block)
        models = zip(self.models, inputs, strict=False) if len(block.labels) else ()
        return self._records(block, inputs, [Ended(model.session, images) for model, images in models])

    def note_time(self, seconds: float, images: int) -> None:
        """Add what other processes took, and how many images they ran or found corrupt."""
        self.seconds += seconds
        self._run_here += images

    def _blocks(self, numbers: Sequence[int]) -> Generator[Block, None, None]:
        options = self.options
        if options.crops is None:
            return decoded_blocks(self.source, self.croppings, numbers, options.batch_size, options.workers)
        if self._fingerprint is None:
            self._fingerprint = fingerprint_sha256(self.source)
        return cached_blocks(
            options.crops, self._fingerprint, self.source, self.croppings, numbers, options.batch_size, options.workers
        )

    def _prepared(self, numbers: Sequence[int]) -> Generator[tuple[Block, list[Images]], None, None]:
        """Yield blocks with each model's input, made in threads while other blocks run."""
        with contextlib.closing(self._blocks(numbers)) as blocks:
            yield from with_inputs(blocks, self._inputs)

    def _inputs(self, block: Block) -> list[Images]:
        input_by_key: dict[tuple[str, int], Images] = {}
        inputs = []
        for model in self._all:
            channels = model.session.input.channels
            key = (model.preprocessing.model_dump_json(), channels)
            if key not in input_by_key:
                place = next(i for i, each in enumerate(self.croppings) if each.crops_like(model.preprocessing))
                input_by_key[key] = model_input(block.crops[place], model.preprocessing, channels)
            inputs.append(input_by_key[key])
        return inputs

    def _scored(
        self, prepared: Iterable[tuple[Block, list[Images]]]
    ) -> Generator[tuple[Block, dict[str, npt.NDArray[np.generic]]], None, None]:
        """Yield each block, in order, with what the journal keeps of it, while the next one runs where that can be."""
        at_once = self._blocks_at_once
        run: Callable[[Session, Images], Pending] = begin if at_once > 1 else Ended
        under_way: collections.deque[tuple[Block, list[Images], list[Pending]]] = collections.deque()
        for block, inputs in prepared:
            self._check_labels(block)
            models = zip(self.models, inputs, strict=False) if len(block.labels) else ()
            runs = [run(model.session, images) for model, images in models]
            under_way.append((block, inputs, runs))
            if len(under_way) >= at_once:
                yield under_way[0][0], self._records(*under_way.popleft())
        while under_way:
            yield under_way[0][0], self._records(*under_way.popleft())

    @property
    def _blocks_at_once(self) -> int:
        """How many blocks are under way: one where several engines share a GPU, so that the time of each is its own."""
        overlapping = [each for each in self._all if isinstance(each.session, Overlapping)]
        is_alone = len(overlapping) == 1 and overlapping[0] is not self.reference
        return runs_at_once(overlapping[0].session) if is_alone else 1

    def _records(
        self, block: Block, inputs: Sequence[Images], runs: Sequence[Pending]
    ) -> dict[str, npt.NDArray[np.generic]]:
        """Return what the journal keeps of a block: its labels and faults, and each model's records and seconds."""
        records = block_head(block)
        expected = None
        if self.reference is not None and runs:
            expected = self._expected(block, self.reference, inputs[-1])
            records |= _prefixed(REFERENCE, image_records(expected, None))
        for place, run in enumerate(runs):
            logits = unchecked_result(run)
            records[f"{place}.seconds"] = np.array(run.seconds)
            records |= _prefixed(str(place), image_records(logits, expected))
        return records

    def _expected(self, block: Block, reference: Contestant, images: Images) -> Logits:
        """Return the reference's logits (n, classes), from its file where they are there."""
        kept = self._reference_logits.read(block.number, block.sha256)
        logits = None if kept is None else kept.get("logits")
        if logits is not None and logits.shape == (len(block.labels), reference.session.classes):
            return logits.astype(np.float32)
        self._logits_refused += self._reference_logits.has(block.number)
        found = run_unchecked(reference.session, images)
        self._reference_logits.write(block.number, block.sha256, {"logits": found})
        return found

    def _check_labels(self, block: Block) -> None:
        classes = self._all[0].session.classes
        outside = np.flatnonzero((block.labels < 0) | (block.labels >= classes))
        if len(outside):
            first = outside[0]
            raise InputError(
                f"{self.source.name(int(block.indices[first]))} has label {block.labels[first]}, the model has "
                f"{classes} classes (0 to {classes - 1})"
            )

    def results(self, dataset: str, real: Sequence[Sequence[int]] | None = None) -> Evaluation:
        """Sum up the whole journal, model by model; see `summarize`.

        Raises:
            InputError: No image could be used, or the journal was damaged since it was written.
        """
        blocks = [block for number in range(self.blocks) if (block := self._journal.read(number)) is not None]
        if len(blocks) < self.blocks:
            raise InputError(
                f"{self.options.journal}: {self.blocks - len(blocks)} of {self.blocks} blocks were lost or damaged "
                "while the evaluation ran; run it again with ‹resume›"
            )
        rate = self._run_here / self.seconds if self._run_here else None
        run = Pass(dataset=dataset, source=self.source, real=real, seconds=self.seconds, images_per_second=rate)
        return summarize(blocks, self.models, self.reference, run)

    def close(self) -> None:
        """Close the files; the sessions are the caller's."""
        self._journal.close()
        self._reference_logits.close()


def run_unchecked(session: Session, images: Images) -> Logits:
    """Return logits (n, classes) float32, not finite ones included."""
    return unchecked_result(begin(session, images))


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
