"""Decoded crops on disk, uint8, so that the next evaluation of the same images need not decode."""

import contextlib
import hashlib
import json
import os
import pathlib
import sqlite3
from collections.abc import Generator, Sequence

import numpy as np
import numpy.typing as npt
import PIL

from deepvit.images.sources import ImageSource
from deepvit.runtime import preprocess
from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.files import require_room
from deepvit.runtime.preprocess import Crop, Preprocessing

from .block_store import connect, sqlite_error
from .blocks import Block, block_range, decoded_blocks

BLOCKS_PER_SYNC = 64  # a row is noted only when its pixels are on the disk, and waiting for that takes time
CROPS, ROWS = "crops.u8", "rows.sqlite"


def crops_key(content_sha256: str, preprocessing: Preprocessing) -> str:
    """Return what crops are kept by: the images, how they are cropped, and by which code."""
    files = sorted(pathlib.Path(preprocess.__file__).parent.glob("*.py"))
    code = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    text = json.dumps([content_sha256, preprocessing.crop_fields(), code, PIL.__version__])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class CropCache:
    """The crops of one image list for one preprocessing: a file of N·crop·crop·3 bytes, and which rows are in it.

    Args:
        folder: Where they lie; made if missing.
        images: Length of the list.
        crop: Side of the crops.

    Raises:
        InputError: The folder cannot be used.
        MissingError: The disk has no room for all crops.
    """

    def __init__(self, folder: pathlib.Path, images: int, crop: int) -> None:
        require_room(folder / CROPS, images * crop * crop * 3, "DEEPVIT_CACHE, or leave ‹cache_crops› out")
        self.path = folder / CROPS
        self._shape = (images, crop, crop, 3)
        self.crop_shape = self._shape[1:]
        self._row_bytes = crop * crop * 3
        self._pending: list[tuple[int, int, str]] = []
        self._blocks_pending = 0
        self._mapped: Crop | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            os.truncate(self._file, images * self._row_bytes)  # sparse until it is written
            self._rows = connect(folder / ROWS)
            with self._rows:
                self._rows.execute("CREATE TABLE IF NOT EXISTS rows (place INTEGER PRIMARY KEY, label INT, error TEXT)")
        except sqlite3.Error as error:
            raise sqlite_error(folder / ROWS, error) from error
        except OSError as error:
            raise InputError(f"crops cannot be kept in {folder}: {error.strerror}; set DEEPVIT_CACHE") from error

    def read(self, places: range) -> list[tuple[int, int, str]] | None:
        """Return (place, label, error) of every image of `places`, or None where one is not there."""
        try:
            query = "SELECT place, label, error FROM rows WHERE place >= ? AND place < ? ORDER BY place"
            rows = self._rows.execute(query, (places.start, places.stop)).fetchall()
        except sqlite3.Error as error:
            raise sqlite_error(self.path.with_name(ROWS), error) from error
        return rows if len(rows) == len(places) else None

    def crops(self, places: npt.NDArray[np.int64]) -> Crop:
        """Return the crops (n, H, W, 3) uint8 of images whose rows are there."""
        if self._mapped is None:
            self._mapped = np.memmap(self.path, np.uint8, "r", shape=self._shape)
        first, last = int(places[0]), int(places[-1])
        is_whole = last - first + 1 == len(places)
        return self._mapped[first : last + 1] if is_whole else self._mapped[places]

    def write(self, block: Block, crops: Crop) -> None:
        """Add a block's crops.

        Raises:
            MissingError: The disk is full.
        """
        try:
            for place, crop in zip(block.indices.tolist(), crops, strict=True):
                os.pwrite(self._file, crop.tobytes(), place * self._row_bytes)
        except OSError as error:
            raise MissingError(
                f"{self.path} cannot be written: {error.strerror}; it takes "
                f"{self._shape[0] * self._row_bytes / 1e9:.1f} GB; free some, set DEEPVIT_CACHE "
                "to another folder, or leave ‹cache_crops› out"
            ) from error
        labels = block.labels.tolist()
        self._pending += [(place, label, "") for place, label in zip(block.indices.tolist(), labels, strict=True)]
        self._pending += [(place, -1, error) for place, error in block.errors]
        self._blocks_pending += 1
        if self._blocks_pending >= BLOCKS_PER_SYNC:
            self.sync()

    def sync(self) -> None:
        """Bring the pixels to the disk, then note the rows."""
        os.fsync(self._file)
        try:
            with self._rows:
                self._rows.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", self._pending)
        except sqlite3.Error as error:
            raise sqlite_error(self.path.with_name(ROWS), error) from error
        self._pending, self._blocks_pending = [], 0

    def close(self) -> None:
        """Note what is written, and close the files."""
        self.sync()
        os.close(self._file)
        self._rows.close()


def cached_blocks(
    folder: pathlib.Path,
    content_sha256: str,
    source: ImageSource,
    preprocessings: Sequence[Preprocessing],
    numbers: Sequence[int],
    size: int,
    workers: int | None,
) -> Generator[Block, None, None]:
    """Yield blocks as `decoded_blocks` does, from the caches in `folder` where all have them, and fill them elsewhere.

    Args:
        folder: Below it, each cache has a folder of its own.
        content_sha256: Of the source; see `deepvit.images.sources.content_sha256`.
        source: The images.
        preprocessings: How they are cropped.
        numbers: The blocks.
        size: Images of a block.
        workers: Decoding processes; 0 decodes in this one; chosen by the number of images where None.
    """
    caches = [CropCache(folder / crops_key(content_sha256, each), len(source), each.crop) for each in preprocessings]
    try:
        ranges = {number: block_range(number, size, len(source)) for number in numbers}
        missing = [n for n in numbers if any(cache.read(ranges[n]) is None for cache in caches)]
        is_missing = set(missing)
        with contextlib.closing(decoded_blocks(source, preprocessings, missing, size, workers)) as decoded:
            for number in numbers:
                if number not in is_missing:
                    yield _cached_block(number, caches, ranges[number])
                    continue
                block = next(decoded)
                for cache, crops in zip(caches, block.crops, strict=True):
                    cache.write(block, crops)
                yield block
    finally:
        for cache in caches:
            cache.close()


def _cached_block(number: int, caches: Sequence[CropCache], places: range) -> Block:
    rows = caches[0].read(places)
    assert rows is not None
    good = [(place, label) for place, label, error in rows if not error]
    indices = np.array([place for place, _ in good], np.int64)
    return Block(
        number=number,
        indices=indices,
        labels=np.array([label for _, label in good], np.int64),
        crops=tuple(cache.crops(indices) if good else np.empty((0, *cache.crop_shape), np.uint8) for cache in caches),
        errors=tuple((place, error) for place, _, error in rows if error),
    )
