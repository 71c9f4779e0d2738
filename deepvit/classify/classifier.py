"""Images → classes with a model that was opened, block by block; the same block gives the same record anywhere.

classifier = Classifier("artifacts/deepvit_32-fp16")
for row in classifier.classify("photographs"):
    print(row.path, row.name, row.probability)
"""

import collections
import contextlib
import dataclasses
import itertools
import os
from collections.abc import Generator, Iterable, Iterator

from deepvit.images.blocks import Block, block_of, with_inputs
from deepvit.images.class_names import names_or_default
from deepvit.images.decode import CHUNK, decode_images, decode_parts
from deepvit.measure.models import OpenedModel, open_model
from deepvit.measure.options import SessionOptions, WeightOptions
from deepvit.runtime.ort.arithmetic import Arithmetic
from deepvit.runtime.preprocess import FILES, DecodePolicy, Preprocessing, model_input
from deepvit.runtime.session import Pending, begin, runs_at_once, unchecked_result
from deepvit.runtime.session.tensors import Images, Logits

from .options import DEFAULT_BATCH, Answer
from .rows import Record, Row, record_of, rows_of
from .sources.entry import Entry, EntrySource
from .sources.listing import Listing


@dataclasses.dataclass(frozen=True)
class ImageBlock:
    """Images that follow each other in a list, to be run as one batch; picklable, and all that it takes to run them."""

    number: int
    entries: tuple[Entry, ...]


@dataclasses.dataclass(frozen=True)
class ImageBlockDecoder:
    """Decodes image blocks, in whichever process it is sent to."""

    preprocessing: Preprocessing
    policy: DecodePolicy

    def __call__(self, block: ImageBlock) -> Block:
        source, preprocessings = EntrySource(block.entries, self.policy), [self.preprocessing]
        return block_of(block.number, list(decode_images(source, preprocessings, 0)), preprocessings)


class Classifier:
    """A model that tells what images show.

    Args:
        model: An artifact folder, its model.onnx or plan, or what `open_model` opened.
        answer: What is wanted of each image.
        sessions: How a model that is not opened yet is.
        policy: Which images are decoded.

    Raises:
        InputError, MissingError, DeviceError: It cannot be opened.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | OpenedModel,
        *,
        answer: Answer | None = None,
        sessions: SessionOptions | None = None,
        policy: DecodePolicy = FILES,
    ) -> None:
        if not isinstance(model, OpenedModel):
            model = open_model(os.fspath(model), as_served(sessions or SessionOptions()), WeightOptions())
        self.model, self.policy = model, policy
        self.answer = answer or Answer()
        self.class_names = names_or_default(model.class_names, model.session.classes)
        self.top = min(self.answer.top, model.session.classes)

    def classify(
        self,
        images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        batch_size: int = DEFAULT_BATCH,
        workers: int = 0,
    ) -> Iterator[Row]:
        """Yield a row for each image, in order.

        Args:
            images: What ‹images› takes: files, folders, patterns, lists, archives, tables, addresses; one or several.
            batch_size: Images that are run at once.
            workers: Processes that decode; 0 decodes in this one.

        Raises:
            InputError: There are none.
            MissingError: A library that reads them is not installed.
        """
        sources = [images] if isinstance(images, str | os.PathLike) else list(images)
        with contextlib.closing(Listing([os.fspath(source) for source in sources])) as listing:
            for block, record in self.records(blocks_of(listing, batch_size), workers):
                yield from rows_of(block.entries, record, self.class_names)

    def records(
        self, blocks: Iterable[ImageBlock], workers: int = 0
    ) -> Generator[tuple[ImageBlock, Record], None, None]:
        """Yield each block, in order, with what is kept of it, while the next ones are decoded and run.

        Args:
            blocks: Taken as they are needed.
            workers: Processes that decode; 0 decodes in this one.
        """
        waiting: collections.deque[ImageBlock] = collections.deque()  # that were taken, and have no record yet
        under_way: collections.deque[tuple[Block, Pending | None]] = collections.deque()
        session = self.model.session
        with contextlib.closing(self._decoded(blocks, waiting, workers)) as decoded:
            for block, images in with_inputs(decoded, self._input):
                under_way.append((block, begin(session, images) if len(images) else None))
                if len(under_way) >= runs_at_once(session):
                    yield self._record(waiting, under_way)
            while under_way:
                yield self._record(waiting, under_way)

    def _decoded(
        self, blocks: Iterable[ImageBlock], waiting: collections.deque[ImageBlock], workers: int
    ) -> Generator[Block, None, None]:
        preprocessings = [self.model.preprocessing]
        taken: collections.deque[ImageBlock] = collections.deque()

        def entries() -> Iterator[Entry]:
            for block in blocks:
                waiting.append(block)
                taken.append(block)
                yield from block.entries

        parts = (EntrySource(part, self.policy) for part in _chunks(entries(), CHUNK))
        with contextlib.closing(decode_parts(parts, preprocessings, workers)) as images:
            for first in images:
                block = taken.popleft()
                items = [first, *itertools.islice(images, len(block.entries) - 1)]
                placed = [dataclasses.replace(item, index=place) for place, item in enumerate(items)]
                yield block_of(block.number, placed, preprocessings)

    def _input(self, block: Block) -> Images:
        return model_input(block.crops[0], self.model.preprocessing, self.model.session.input.channels)

    def record(self, block: Block) -> Record:
        """Return what is kept of a block that was decoded elsewhere."""
        images = self._input(block)
        logits = unchecked_result(begin(self.model.session, images)) if len(images) else None
        return self._kept(block, len(block.indices) + len(block.errors), logits)

    def _record(
        self, waiting: collections.deque[ImageBlock], under_way: collections.deque[tuple[Block, Pending | None]]
    ) -> tuple[ImageBlock, Record]:
        (block, pending), image_block = under_way.popleft(), waiting.popleft()
        logits = None if pending is None else unchecked_result(pending)
        return image_block, self._kept(block, len(image_block.entries), logits)

    def _kept(self, block: Block, images: int, logits: Logits | None) -> Record:
        return record_of(block, images, logits, self.top, with_logits=self.answer.logits)

    def close(self) -> None:
        """Free what the session holds."""
        self.model.session.close()


def as_served(sessions: SessionOptions) -> SessionOptions:
    """Return how a session is opened that answers, and is not measured: as fast as it can."""
    return dataclasses.replace(sessions, arithmetic=Arithmetic.NATIVE)


def blocks_of(listing: Listing, size: int, numbers: Iterable[int] | None = None) -> Iterator[ImageBlock]:
    """Yield the blocks of a list, or those of these numbers."""
    for number in range(-(-listing.images // size)) if numbers is None else numbers:
        places = range(number * size, min((number + 1) * size, listing.images))
        yield ImageBlock(number, listing.entries(places))


def _chunks(entries: Iterable[Entry], size: int) -> Iterator[tuple[Entry, ...]]:
    remaining = iter(entries)
    while chunk := tuple(itertools.islice(remaining, size)):
        yield chunk
