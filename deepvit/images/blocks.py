"""The image list in blocks of consecutive images: what is run at once, kept at once, and given to one process."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import itertools
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from deepvit.runtime.preprocess import Crop, Preprocessing

from .decode import Decoded, decode_images
from .sources import ImageSource, read_image_sha256

PREPARED_AHEAD = 2  # blocks whose inputs are made while others are used
T = TypeVar("T")
MAX_READERS = 8  # threads that read and hash files, which is much faster than decoding


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """The usable images of one block, and what is wrong with the others.

    Attributes:
        number: Which block of the list.
        indices: (n,) their places in the list.
        labels: (n,), −1 where an image has none.
        crops: For each preprocessing (n, H, W, 3) uint8.
        errors: Place in the list and fault of each image that cannot be used.
        contents: (n,) their `image_sha256`.
        sha256: Of all images of the block, usable or not; see `images_sha256`.
    """

    number: int
    indices: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    crops: tuple[Crop, ...]
    errors: tuple[tuple[int, str], ...]
    contents: tuple[bytes, ...]
    sha256: bytes


def block_range(number: int, size: int, images: int) -> range:
    """Return the places in the list that belong to a block."""
    return range(number * size, min((number + 1) * size, images))


def count_blocks(images: int, size: int) -> int:
    """Return how many blocks a list has."""
    return -(-images // size)


def images_sha256(contents: Iterable[bytes]) -> bytes:
    """Return the hash (32 bytes) of a block's images by their `image_sha256`, empty ones included."""
    return hashlib.sha256(b"".join(each or bytes(32) for each in contents)).digest()


def decoded_blocks(
    source: ImageSource,
    preprocessings: Sequence[Preprocessing],
    numbers: Sequence[int],
    size: int,
    workers: int | None = None,
) -> Generator[Block, None, None]:
    """Yield the blocks `numbers`, of at most `size` images each, in that order; see `decode_images`."""
    ranges = [block_range(number, size, len(source)) for number in numbers]
    indices = list(itertools.chain.from_iterable(ranges))
    with contextlib.closing(decode_images(source, preprocessings, workers, indices)) as decoded:
        for number, places in zip(numbers, ranges, strict=True):
            yield block_of(number, list(itertools.islice(decoded, len(places))), preprocessings)


@dataclasses.dataclass(frozen=True)
class BlockDecoder:
    """Makes blocks of a source by their numbers, in whichever process it is sent to."""

    source: ImageSource
    preprocessings: Sequence[Preprocessing]
    size: int

    def __call__(self, number: int) -> Block:
        places = block_range(number, self.size, len(self.source))
        items = list(decode_images(self.source, self.preprocessings, 0, places))
        return block_of(number, items, self.preprocessings)


def block_of(number: int, items: Sequence[Decoded], preprocessings: Sequence[Preprocessing]) -> Block:
    """Return the block of `items`, which are all its images in the order of the list."""
    good = [item for item in items if item.crops]
    return Block(
        number=number,
        indices=np.array([item.index for item in good], np.int64),
        labels=np.array([-1 if item.label is None else item.label for item in good], np.int64),
        crops=tuple(
            np.stack([item.crops[k] for item in good]) if good else np.empty((0, p.crop, p.crop, 3), np.uint8)
            for k, p in enumerate(preprocessings)
        ),
        errors=tuple((item.index, item.error) for item in items if not item.crops),
        contents=tuple(item.sha256 for item in good),
        sha256=images_sha256(item.sha256 for item in items),
    )


def with_inputs(blocks: Iterable[Block], make: Callable[[Block], T]) -> Generator[tuple[Block, T], None, None]:
    """Yield blocks, in order, with what `make` makes of each, in threads while the ones before are used."""
    with concurrent.futures.ThreadPoolExecutor(PREPARED_AHEAD) as pool:
        ahead: collections.deque[tuple[Block, concurrent.futures.Future[T]]] = collections.deque()
        for block in blocks:
            ahead.append((block, pool.submit(make, block)))
            if len(ahead) > PREPARED_AHEAD:
                ready, made = ahead.popleft()
                yield ready, made.result()
        for ready, made in ahead:
            yield ready, made.result()


def read_blocks_sha256(
    source: ImageSource, numbers: Sequence[int], size: int
) -> Generator[tuple[int, bytes], None, None]:
    """Yield each block's number and `Block.sha256`, by reading all its images but decoding none."""
    with readers() as pool:
        for number in numbers:
            places = block_range(number, size, len(source))
            yield number, images_sha256(pool.map(functools.partial(read_image_sha256, source), places))


def readers(workers: int | None = None) -> concurrent.futures.ThreadPoolExecutor:
    """Return threads that read files: as many as `workers`, or the machine, can use."""
    return concurrent.futures.ThreadPoolExecutor(max(1, min(MAX_READERS, workers or os.cpu_count() or 1)))
