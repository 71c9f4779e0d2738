"""Blocks of records become a result, whatever they are cut into."""

import numpy as np
import pytest

from deepvit.images.blocks import Block
from deepvit.images.sources import FolderSource
from deepvit.measure.evaluate.scores import image_records
from deepvit.measure.evaluate.summary import Pass, block_head, summarize
from deepvit.runtime.errors import InputError
from tests.doubles.evaluation_stub import CLASSES, contestant, timeless


@pytest.fixture
def source(tmp_path):
    return FolderSource(tmp_path, tuple((f"{place}.png", place % CLASSES) for place in range(7)))


def _block(number, good, errors=()):
    return Block(
        number=number,
        indices=np.array(good, np.int64),
        labels=np.array(good, np.int64) % CLASSES,
        crops=(),
        errors=tuple(errors),
        contents=(),
        sha256=b"",
    )


def _records(block, shift=0):
    head = block_head(block)
    if not len(block.labels):
        return head
    logits = np.eye(CLASSES, dtype=np.float32)[(block.labels + shift) % CLASSES]
    reference = np.eye(CLASSES, dtype=np.float32)[block.labels]
    return (
        head
        | {"0.seconds": np.array(0.5)}
        | {f"0.{name}": each for name, each in image_records(logits, reference).items()}
        | {f"reference.{name}": each for name, each in image_records(reference, None).items()}
    )


def _sum(blocks, source, real=None):
    run = Pass(dataset="d", source=source, real=real, seconds=1.0, images_per_second=None)
    return summarize(blocks, [contestant()], contestant("r"), run)


def test_the_cut_does_not_matter(source):
    whole = [_records(_block(0, [0, 1, 2, 4, 5, 6], [(3, "broken")]))]
    cut = [
        _records(_block(0, [0, 1])),
        _records(_block(1, [2], [(3, "broken")])),
        _records(_block(2, [], [])),
        _records(_block(3, [4, 5, 6])),
    ]
    one, other = (timeless(_sum(blocks, source)) for blocks in (whole, cut))
    assert one == other
    assert (one["listed"], one["evaluated"], one["corrupt"]) == (7, 6, [{"name": "3.png", "error": "broken"}])
    (model,) = one["models"]
    assert model["top1"] == model["reference"]["agreement"] == model["reference"]["agreement_interval"]["high"] == 1


def test_real_labels_of_corrupt_images_are_left_out(source):
    blocks = [_records(_block(0, [0, 1, 2, 4, 5, 6], [(3, "broken")]))]
    real = [[place] for place in range(7)]
    assert _sum(blocks, source, real).models[0].real_top1 == 1
    real[3] = [9]
    found = _sum(blocks, source, real)
    assert (found.models[0].real_top1, found.real_images) == (1, 6)


def test_the_models_own_speed_has_its_seconds_of_all_blocks(source):
    blocks = [_records(_block(0, [0, 1, 2])), _records(_block(1, [3, 4, 5, 6]))]
    assert _sum(blocks, source).models[0].images_per_second == 7 / 1.0


def test_no_usable_image(source):
    blocks = [_records(_block(0, [], [(place, "broken") for place in range(7)]))]
    with pytest.raises(InputError, match=r"none of the 7 images could be used; the first: 0\.png broken"):
        _sum(blocks, source)
