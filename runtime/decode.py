"""Images → crops, decoded by worker processes ahead of the model, in the source's order."""

import collections
import concurrent.futures
import dataclasses
import multiprocessing
import os
from collections.abc import Iterator

from runtime.errors import InputError, MissingError
from runtime.imagenet import ImageSource
from runtime.preprocess import Crop, Preprocessing, crop_image

CHUNK = 16  # images that a worker takes at once: large enough to make passing messages cheap
CHUNKS_AHEAD_PER_WORKER = 3  # bounds memory: at 224 pixels a chunk is 2.4 MB
MIN_IMAGES_FOR_WORKERS = 200  # below that, starting processes costs more than decoding


@dataclasses.dataclass(frozen=True)
class Decoded:
    """One image: its crop and label, or why there is no crop."""

    index: int
    crop: Crop | None
    label: int | None
    error: str = ""


def decode_one(source: ImageSource, index: int, preprocessing: Preprocessing) -> Decoded:
    """Read, decode and crop one image; a file that cannot be used becomes a `Decoded` with an error."""
    try:
        encoded, label = source.read(index)
    except OSError as error:
        return Decoded(index, None, None, f"cannot be read: {error.strerror or error}")
    try:
        return Decoded(index, crop_image(encoded, preprocessing), label)
    except InputError as error:
        return Decoded(index, None, label, str(error))


_worker: tuple[ImageSource, Preprocessing] | None = None


def _start_worker(source: ImageSource, preprocessing: Preprocessing) -> None:
    global _worker  # noqa: PLW0603 - a worker process serves one source; sending it with every task would be slower
    _worker = (source, preprocessing)


def _decode_chunk(indices: range) -> list[Decoded]:
    assert _worker is not None
    source, preprocessing = _worker
    return [decode_one(source, index, preprocessing) for index in indices]


def default_workers(images: int) -> int:
    """Return how many worker processes decode `images` images on this machine; 0 means none but this process."""
    return (os.cpu_count() or 1) if images >= MIN_IMAGES_FOR_WORKERS else 0


def decode_images(source: ImageSource, preprocessing: Preprocessing, workers: int | None = None) -> Iterator[Decoded]:
    """Yield every image of `source` in order.

    Args:
        source: The images.
        preprocessing: How they are resized and cropped.
        workers: Worker processes; 0 decodes in this process; chosen by the number of images where None.

    Raises:
        MissingError: A worker process was killed, usually for want of memory.
    """
    workers = default_workers(len(source)) if workers is None else workers
    if workers == 0:
        for index in range(len(source)):
            yield decode_one(source, index, preprocessing)
        return
    context = multiprocessing.get_context("spawn")  # forking a process that runs ONNX Runtime's threads can hang
    with concurrent.futures.ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(source, preprocessing)
    ) as pool:
        chunks = (range(start, min(start + CHUNK, len(source))) for start in range(0, len(source), CHUNK))
        ahead: collections.deque[concurrent.futures.Future[list[Decoded]]] = collections.deque()
        try:
            for chunk in chunks:
                ahead.append(pool.submit(_decode_chunk, chunk))
                if len(ahead) >= workers * CHUNKS_AHEAD_PER_WORKER:
                    yield from ahead.popleft().result()
            while ahead:
                yield from ahead.popleft().result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise MissingError("a decoding process was killed, usually for want of memory; try --workers 1") from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
