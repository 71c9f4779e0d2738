"""Blocks of consecutive images, and what they are by their content."""

import itertools

import numpy as np
import pytest
from PIL import Image

from deepvit.images.blocks import (
    block_range,
    count_blocks,
    decoded_blocks,
    images_sha256,
    read_blocks_sha256,
    readers,
)
from deepvit.images.sources import FolderSource, image_sha256, read_image_sha256
from tests.doubles.evaluation_stub import SMALLER, TINY


@pytest.fixture
def source(tmp_path):
    for red in range(7):
        Image.new("RGB", (5, 5), (red, 0, 0)).save(tmp_path / f"{red}.png")
    (tmp_path / "2.png").write_bytes(b"broken")
    (tmp_path / "3.png").unlink()
    return FolderSource(tmp_path, tuple((f"{red}.png", red) for red in range(7)))


@pytest.mark.parametrize(("images", "size"), [(7, 3), (6, 3), (1, 3), (3, 1)])
def test_blocks_cover_the_list_once(images, size):
    places = itertools.chain.from_iterable(
        block_range(number, size, images) for number in range(count_blocks(images, size))
    )
    assert list(places) == list(range(images))


def test_blocks_have_usable_images_and_faults(source):
    first, last = decoded_blocks(source, [TINY, SMALLER], [0, 2], 3, workers=0)
    assert (first.number, first.indices.tolist(), first.labels.tolist()) == (0, [0, 1], [0, 1])
    assert [crops.shape for crops in first.crops] == [(2, 4, 4, 3), (2, 2, 2, 3)]
    assert first.crops[0][:, 0, 0, 0].tolist() == [0, 1]
    assert [place for place, _ in first.errors] == [2]
    assert first.contents == tuple(image_sha256(*source.read(place)) for place in (0, 1))
    assert (last.indices.tolist(), last.errors) == ([6], ())
    (middle,) = decoded_blocks(source, [TINY], [1], 3, workers=0)
    assert "cannot be read" in middle.errors[0][1]


def test_a_block_without_a_usable_image(source):
    (block,) = decoded_blocks(source, [TINY], [2], 1, workers=0)
    assert (len(block.indices), block.crops[0].shape, block.contents) == (0, (0, 4, 4, 3), ())


def test_what_is_read_is_what_was_decoded(source):
    decoded = {block.number: block.sha256 for block in decoded_blocks(source, [TINY], [0, 1, 2], 3, workers=0)}
    assert dict(read_blocks_sha256(source, [0, 1, 2], 3)) == decoded
    assert len(set(decoded.values())) == 3


def test_content_label_order_and_loss_tell_blocks_apart(source):
    contents = [read_image_sha256(source, place) for place in (0, 1, 3)]
    assert contents[2] == b""
    relabelled = FolderSource(source.root, (("0.png", 5),))
    others = [
        contents[::-1],
        contents[:2],
        [*contents[:2], read_image_sha256(source, 4)],
        [read_image_sha256(relabelled, 0), *contents[1:]],
    ]
    assert len({images_sha256(each) for each in (contents, *others)}) == 5


@pytest.mark.parametrize("workers", [None, 0, 1, 100])
def test_readers_read(workers):
    with readers(workers) as pool:
        assert list(pool.map(np.sqrt, [1, 4])) == [1, 2]
