"""Images → crops, decoded by worker processes ahead of the model, in the source's order."""

import collections
import concurrent.futures
import dataclasses
import multiprocessing
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TypeVar

from deepvit.processes import end_with_parent, without_interrupts
from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.preprocess import Crop, Preprocessing, crops_of

from .sources import ImageSource, image_sha256

CHUNK = 16  # images that a worker takes at once: large enough to make passing messages cheap
CHUNKS_AHEAD_PER_WORKER = 3  # bounds memory: at 224 pixels a chunk is 2.4 MB
MIN_IMAGES_FOR_WORKERS = 200  # below that, starting processes costs more than decoding
Task = TypeVar("Task")


@dataclasses.dataclass(frozen=True)
class Decoded:
    """One image: a crop for each preprocessing and the label, or why there are none; `sha256` of what was read."""

    index: int
    crops: tuple[Crop, ...]
    label: int | None
    error: str = ""
    sha256: bytes = b""  # image_sha256; empty where it cannot be read

    @property
    def crop(self) -> Crop | None:
        """The first of the crops; None where there are none."""
        return self.crops[0] if self.crops else None


def decode_one(source: ImageSource, index: int, preprocessings: Sequence[Preprocessing]) -> Decoded:
    """Read and decode one image, and crop it for each preprocessing; one that cannot be used has an error instead."""
    try:
        encoded, label = source.read(index)
    except MemoryError:
        return Decoded(index, (), None, "cannot be read: the file is larger than the memory")
    except InputError as error:
        return Decoded(index, (), None, str(error))
    sha256 = image_sha256(encoded, label)
    try:
        return Decoded(index, crops_of(encoded, preprocessings, source.policy), label, sha256=sha256)
    except InputError as error:
        return Decoded(index, (), label, str(error), sha256)


_worker: tuple[ImageSource | None, Sequence[Preprocessing]] | None = None


def _start_worker(source: ImageSource | None, preprocessings: Sequence[Preprocessing]) -> None:
    global _worker  # noqa: PLW0603 - a worker process serves one source; sending it with every task would be slower
    end_with_parent()
    _worker = (source, preprocessings)


def _decode_chunk(indices: Sequence[int]) -> list[Decoded]:
    assert _worker is not None
    source, preprocessings = _worker
    assert source is not None
    return [decode_one(source, index, preprocessings) for index in indices]


def _decode_part(part: ImageSource) -> list[Decoded]:
    assert _worker is not None
    return _decoded_part(part, _worker[1])


def _decoded_part(part: ImageSource, preprocessings: Sequence[Preprocessing]) -> list[Decoded]:
    return [decode_one(part, index, preprocessings) for index in range(len(part))]


def default_workers(images: int) -> int:
    """Return how many worker processes decode `images` images on this machine; 0 means none but this process."""
    return (os.cpu_count() or 1) if images >= MIN_IMAGES_FOR_WORKERS else 0


def decode_images(
    source: ImageSource,
    preprocessings: Sequence[Preprocessing],
    workers: int | None = None,
    indices: Sequence[int] | None = None,
) -> Generator[Decoded, None, None]:
    """Yield images of `source` in order, each decoded once.

    Args:
        source: The images.
        preprocessings: How they are resized and cropped; a crop for each.
        workers: Worker processes; 0 decodes in this process; chosen by the number of images where None.
        indices: Which images; all where None.

    Raises:
        MissingError: A worker process was killed, usually for want of memory.
    """
    indices = range(len(source)) if indices is None else indices
    workers = default_workers(len(indices)) if workers is None else workers
    if workers == 0:
        for index in indices:
            yield decode_one(source, index, preprocessings)
        return
    chunks = (indices[start : start + CHUNK] for start in range(0, len(indices), CHUNK))
    yield from _in_processes(workers, (source, preprocessings), _decode_chunk, chunks)


def decode_parts(
    parts: Iterable[ImageSource], preprocessings: Sequence[Preprocessing], workers: int
) -> Generator[Decoded, None, None]:
    """Yield the images of parts of a list that is nowhere whole; each part goes to the process that decodes it.

    Args:
        parts: Of about CHUNK images; taken as they are needed. `Decoded.index` counts within one.
        preprocessings: As `decode_images`.
        workers: As `decode_images`, but a number.

    Raises:
        MissingError: As `decode_images`.
    """
    if workers == 0:
        for part in parts:
            yield from _decoded_part(part, preprocessings)
        return
    yield from _in_processes(workers, (None, preprocessings), _decode_part, parts)


def _in_processes(
    workers: int,
    shared: tuple[ImageSource | None, Sequence[Preprocessing]],
    decode: Callable[[Task], list[Decoded]],
    tasks: Iterable[Task],
) -> Generator[Decoded, None, None]:
    context = multiprocessing.get_context("spawn")  # forking a process that runs ONNX Runtime's threads can hang
    with concurrent.futures.ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=shared
    ) as pool:
        ahead: collections.deque[concurrent.futures.Future[list[Decoded]]] = collections.deque()
        try:
            for task in tasks:
                with without_interrupts():
                    ahead.append(pool.submit(decode, task))
                if len(ahead) >= workers * CHUNKS_AHEAD_PER_WORKER:
                    yield from ahead.popleft().result()
            while ahead:
                yield from ahead.popleft().result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise MissingError("a decoding process was killed, usually for want of memory; try ‹workers› 1") from error
        finally:
            pool.shutdown(cancel_futures=True)  # waits: a process that ended meanwhile would lose what ends the workers
