"""Crops on disk: what was written is given for the same image alone, and only whole."""

import os
import sqlite3

import numpy as np
import pytest
from PIL import Image

from deepvit.images.blocks import decoded_blocks
from deepvit.images.sources import FolderSource, fingerprint_sha256
from deepvit.measure.evaluate.crop_cache import CropCache, cached_blocks, crops_key
from deepvit.runtime.errors import InputError, MissingError
from tests.doubles.evaluation_stub import SMALLER, TINY

PLACES = range(4)


@pytest.fixture
def source(tmp_path):
    for red in PLACES:
        Image.new("RGB", (5, 5), (red, 0, 0)).save(tmp_path / f"{red}.png")
    (tmp_path / "2.png").write_bytes(b"broken")
    return FolderSource(tmp_path, tuple((f"{red}.png", red) for red in PLACES))


@pytest.fixture
def folder(tmp_path, source):
    folder = tmp_path / "cache" / "key"
    (block,) = decoded_blocks(source, [TINY], [0], 4, workers=0)
    cache = CropCache(folder, 4, 4)
    cache.write(block, block.crops[0])
    cache.close()
    return folder


def _found(folder, images):
    """Which of the four places have a crop for these images, by the red of it."""
    cache = CropCache(folder, 4, 4)
    rows = cache.rows(PLACES)
    crops = [cache.crop(place, rows.get(place), images[place]) for place in PLACES]
    cache.close()
    return [None if crop is None else int(crop[0, 0, 0]) for crop in crops]


@pytest.fixture
def images(source):
    (block,) = decoded_blocks(source, [TINY], [0], 4, workers=0)
    images = dict(zip(block.indices.tolist(), block.contents))
    return [images.get(place, b"") for place in PLACES]


def test_what_is_written_is_found(folder, images):
    assert _found(folder, images) == [0, 1, None, 3]


def test_crops_of_other_images_or_another_key_are_not_found(folder, images):
    assert _found(folder, images[::-1]) == [None] * 4
    assert _found(folder.rename(folder.with_name("other")), images) == [None] * 4


def test_a_damaged_crop_is_not_found(folder, images):
    with (folder / "crops.u8").open("r+b") as file:
        file.seek(48 + 47)
        file.write(b"\xff")
    assert _found(folder, images) == [0, None, None, 3]
    os.truncate(folder / "crops.u8", 3 * 48 + 5)
    assert _found(folder, images) == [0, None, None, None]


@pytest.mark.parametrize("value", [None, 5, "text", b"", b"\0" * 32])
@pytest.mark.parametrize("column", ["image", "sha256"])
def test_a_damaged_row_is_not_found(folder, images, column, value):
    with sqlite3.connect(folder / "rows.sqlite") as connection:
        connection.execute(f"UPDATE crops SET {column} = ? WHERE place = 0", [value])
    connection.close()
    assert _found(folder, images) == [None, 1, None, 3]


def test_keys():
    keys = {crops_key("a", TINY), crops_key("b", TINY), crops_key("a", SMALLER)}
    assert len(keys) == 3
    assert crops_key("a", TINY.model_copy(update={"mean": (0.1,) * 3})) in keys  # crops are not normalised


def _cached(source, tmp_path, numbers=(0, 1), workers=0):
    preprocessings = [TINY, SMALLER]
    return list(cached_blocks(tmp_path / "c", fingerprint_sha256(source), source, preprocessings, numbers, 3, workers))


def test_blocks_from_the_cache_are_those_that_were_decoded(source, tmp_path, caplog):
    decoded = list(decoded_blocks(source, [TINY, SMALLER], [0, 1], 3, workers=0))
    for _ in range(2):
        for found, expected in zip(_cached(source, tmp_path), decoded, strict=True):
            assert found.number == expected.number
            assert found.sha256 == expected.sha256
            assert found.errors == expected.errors
            assert found.contents == expected.contents
            assert np.array_equal(found.labels, expected.labels)
            assert all(map(np.array_equal, found.crops, expected.crops))
    assert not caplog.records


def test_one_lost_crop_costs_the_decoding_of_one_image(source, tmp_path, monkeypatch, caplog):
    from deepvit.images import decode

    _cached(source, tmp_path)
    pixels = next(path for path in (tmp_path / "c").glob("*/crops.u8") if path.stat().st_size == 4 * 48)
    with pixels.open("r+b") as file:
        file.write(b"\xff")
    decoded = []
    real = decode.crops_of
    monkeypatch.setattr(decode, "crops_of", lambda *arguments: decoded.append(1) or real(*arguments))
    first, _ = _cached(source, tmp_path)
    assert len(decoded) == 2  # that one, and the broken one, which is tried every time
    assert first.crops[0][:, 0, 0, 0].tolist() == [0, 1]
    assert "1 kept crops were damaged or of other images" in caplog.text
    assert [place for place, _ in first.errors] == [2]


def test_a_full_disk_is_said_with_what_it_takes(folder, source, monkeypatch):
    (block,) = decoded_blocks(source, [TINY], [0], 4, workers=0)
    cache = CropCache(folder, 4, 4)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(MissingError, match="it takes 0.0 GB; free some"):
        cache.write(block, block.crops[0])
    cache.close()


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "key").touch()
    with pytest.raises(InputError, match="crops cannot be kept"):
        CropCache(tmp_path / "key", 4, 4)
