"""The image list in blocks of consecutive images: what is run at once, kept at once, and given to one process."""

import contextlib
import dataclasses
import itertools
from collections.abc import Generator, Sequence

import numpy as np
import numpy.typing as npt

from deepvit.images.decode import Decoded, decode_images
from deepvit.images.sources import ImageSource
from deepvit.runtime.preprocess import Crop, Preprocessing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """The usable images of one block, and what is wrong with the others.

    Attributes:
        number: Which block of the list.
        indices: (n,) their places in the list.
        labels: (n,), −1 where an image has none.
        crops: For each preprocessing (n, H, W, 3) uint8.
        errors: Place in the list and fault of each image that cannot be used.
    """

    number: int
    indices: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    crops: tuple[Crop, ...]
    errors: tuple[tuple[int, str], ...]


def block_range(number: int, size: int, images: int) -> range:
    """Return the places in the list that belong to a block."""
    return range(number * size, min((number + 1) * size, images))


def count_blocks(images: int, size: int) -> int:
    """Return how many blocks a list has."""
    return -(-images // size)


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
            yield _block(number, list(itertools.islice(decoded, len(places))), preprocessings)


def _block(number: int, items: Sequence[Decoded], preprocessings: Sequence[Preprocessing]) -> Block:
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
    )
