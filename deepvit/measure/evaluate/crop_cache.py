"""Decoded crops on disk, uint8, so that the next evaluation of the same images need not decode.

A crop is believed where the image's file still has the content that it was decoded from, and the crop the bytes that
were written. The files are read for that, which costs a tenth of decoding them; names, sizes and times are not enough:
two data sets that `cp -p` or an archive made can have all of them in common.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import pathlib
import sqlite3
from collections.abc import Generator, Mapping, Sequence

import numpy as np
import PIL

from deepvit.images.blocks import Block, block_of, block_range, decoded_blocks, readers
from deepvit.images.decode import Decoded, decode_one
from deepvit.images.sources import ImageSource, image_sha256
from deepvit.runtime import preprocess
from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.files import require_room
from deepvit.runtime.preprocess import Crop, Preprocessing

from ..database import move_aside, open_database, sqlite_error

logger = logging.getLogger(__name__)
CROPS, ROWS = "crops.u8", "rows.sqlite"
TABLE = "CREATE TABLE crops (place INTEGER PRIMARY KEY, image BLOB, sha256 BLOB)"
Rows = Mapping[int, tuple[object, object]]  # place → (image, sha256)
IMAGES_AHEAD = 256  # that are read while the models run: 40 MB of crops


def crops_key(fingerprint_sha256: str, preprocessing: Preprocessing) -> str:
    """Return what crops are kept by: the images as they are listed, how they are cropped, and by which code."""
    files = sorted(pathlib.Path(preprocess.__file__).parent.glob("*.py"))
    code = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    text = json.dumps([TABLE, fingerprint_sha256, preprocessing.crop_fields(), code, PIL.__version__])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class CropCache:
    """The crops of one image list for one preprocessing: a file of N·crop·crop·3 bytes, and a row for each in it.

    A row has the image's `image_sha256`, and a hash of the crop, the image, the place and the folder's name, which is
    the key. Images that cannot be decoded have none: they are tried again.

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
        self._shape = (crop, crop, 3)
        self._row_bytes = crop * crop * 3
        self._bytes = images * self._row_bytes
        with contextlib.ExitStack() as on_failure:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                move_aside(self.path)
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
                on_failure.callback(os.close, self._file)
                os.truncate(self._file, self._bytes)  # sparse until it is written
            except OSError as error:
                raise InputError(f"crops cannot be kept in {folder}: {error.strerror}; set DEEPVIT_CACHE") from error
            self._rows = open_database(folder / ROWS, TABLE)
            on_failure.pop_all()

    def rows(self, places: range) -> Rows:
        """Return place → (image, sha256) of the rows of `places`, sound or not."""
        try:
            query = "SELECT place, image, sha256 FROM crops WHERE place >= ? AND place < ?"
            rows = self._rows.execute(query, (places.start, places.stop)).fetchall()
        except sqlite3.OperationalError as error:
            raise sqlite_error(self.path.with_name(ROWS), error) from error
        except sqlite3.DatabaseError:
            return {}  # a damaged page, found after the file was opened
        return {place: (image, sha256) for place, image, sha256 in rows}

    def crop(self, place: int, row: tuple[object, object] | None, image: bytes) -> Crop | None:
        """Return the crop (H, W, 3) uint8 of an image by its `image_sha256`; None where it is not there, or damaged."""
        if row is None or row[0] != image:
            return None
        try:
            pixels = os.pread(self._file, self._row_bytes, place * self._row_bytes)
        except OSError:
            return None
        if len(pixels) != self._row_bytes or row[1] != self._sha256(place, image, pixels):
            return None
        return np.frombuffer(pixels, np.uint8).reshape(self._shape)

    def write(self, block: Block, crops: Crop) -> None:
        """Add a block's crops (n, H, W, 3).

        Raises:
            MissingError: The disk is full.
        """
        rows = []
        try:
            for place, image, crop in zip(block.indices.tolist(), block.contents, crops, strict=True):
                pixels = crop.tobytes()
                os.pwrite(self._file, pixels, place * self._row_bytes)
                rows.append((place, image, self._sha256(place, image, pixels)))
        except OSError as error:
            raise MissingError(
                f"{self.path} cannot be written: {error.strerror}; it takes {self._bytes / 1e9:.1f} GB; "
                "free some, set DEEPVIT_CACHE to another folder, or leave ‹cache_crops› out"
            ) from error
        try:
            with self._rows:
                self._rows.executemany("INSERT OR REPLACE INTO crops VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise sqlite_error(self.path.with_name(ROWS), error) from error

    def _sha256(self, place: int, image: bytes, pixels: bytes) -> bytes:
        digest = hashlib.sha256(f"{self.path.parent.name}\0{place}\0{image.hex()}\0".encode())
        digest.update(pixels)
        return digest.digest()

    def close(self) -> None:
        """Close the files."""
        os.close(self._file)
        self._rows.close()


def cached_blocks(
    folder: pathlib.Path,
    fingerprint_sha256: str,
    source: ImageSource,
    preprocessings: Sequence[Preprocessing],
    numbers: Sequence[int],
    size: int,
    workers: int | None,
) -> Generator[Block, None, None]:
    """Yield blocks as `decoded_blocks` does, from the caches in `folder` where all have them, and fill them elsewhere.

    Args:
        folder: Below it, each cache has a folder of its own.
        fingerprint_sha256: Of the source; see `deepvit.images.sources.fingerprint_sha256`.
        source: The images.
        preprocessings: How they are cropped.
        numbers: The blocks.
        size: Images of a block.
        workers: Decoding processes; 0 decodes in this one; chosen by the number of images where None.
    """
    with contextlib.ExitStack() as stack:
        caches = []
        for each in preprocessings:
            cache = CropCache(folder / crops_key(fingerprint_sha256, each), len(source), each.crop)
            stack.callback(cache.close)
            caches.append(cache)
        is_kept = {n: all(cache.rows(block_range(n, size, len(source))) for cache in caches) for n in numbers}
        missing = [number for number in numbers if not is_kept[number]]
        decoded = stack.enter_context(
            contextlib.closing(decoded_blocks(source, preprocessings, missing, size, workers))
        )
        kept = _Kept(source, preprocessings, caches)
        read = stack.enter_context(contextlib.closing(kept.blocks([n for n in numbers if is_kept[n]], size, workers)))
        for number in numbers:
            block, is_new = next(read) if is_kept[number] else (next(decoded), True)
            if is_new:
                for cache, crops in zip(caches, block.crops, strict=True):
                    cache.write(block, crops)
            yield block
        if kept.refused:
            logger.warning("%d kept crops were damaged or of other images; they were decoded anew", kept.refused)


class _Kept:
    """Blocks from caches, image by image in threads; what a cache has not, or not soundly, is decoded there."""

    def __init__(
        self, source: ImageSource, preprocessings: Sequence[Preprocessing], caches: Sequence[CropCache]
    ) -> None:
        self.source, self.preprocessings, self.caches = source, preprocessings, caches
        self.refused = 0  # images whose crops were there and not believed

    def blocks(
        self, numbers: Sequence[int], size: int, workers: int | None
    ) -> Generator[tuple[Block, bool], None, None]:
        """Yield each block, and whether some of it was decoded."""
        ahead: collections.deque[tuple[int, list[concurrent.futures.Future[_Read]]]] = collections.deque()
        with readers(workers) as pool:
            try:
                for number in numbers:
                    places = block_range(number, size, len(self.source))
                    rows = [cache.rows(places) for cache in self.caches]
                    ahead.append((number, [pool.submit(self._read, place, rows) for place in places]))
                    if len(ahead) * size > IMAGES_AHEAD:
                        yield self._block(*ahead.popleft())
                while ahead:
                    yield self._block(*ahead.popleft())
            finally:
                pool.shutdown(cancel_futures=True)

    def _block(self, number: int, reads: "Sequence[concurrent.futures.Future[_Read]]") -> tuple[Block, bool]:
        done = [each.result() for each in reads]
        self.refused += sum(each.is_refused for each in done)
        block = block_of(number, [each.image for each in done], self.preprocessings)
        return block, any(each.is_decoded for each in done)

    def _read(self, place: int, rows: Sequence[Rows]) -> "_Read":
        try:
            sha256 = image_sha256(*(read := self.source.read(place)))
        except (InputError, MemoryError):  # which decode_one puts in words
            return _Read(decode_one(self.source, place, self.preprocessings), is_decoded=True, is_refused=False)
        crops = [cache.crop(place, each.get(place), sha256) for cache, each in zip(self.caches, rows, strict=True)]
        sound = tuple(crop for crop in crops if crop is not None)
        if len(sound) == len(crops):
            return _Read(Decoded(place, sound, read[1], sha256=sha256), is_decoded=False, is_refused=False)
        image = decode_one(self.source, place, self.preprocessings)
        return _Read(image, is_decoded=True, is_refused=any(place in each for each in rows))


@dataclasses.dataclass(frozen=True)
class _Read:
    """An image, whether it was decoded now, and whether crops of it were there all the same."""

    image: Decoded
    is_decoded: bool
    is_refused: bool
