"""The example that shows attention collapse, with networks of three blocks and random weights."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from deepvit.measure.attention.analysis import cross_layer_similarity
from deepvit.measure.attention.torch_maps import TorchMaps
from deepvit.model import create_deepvit
from deepvit.model.load import loaded_from_checkpoint
from deepvit.model.weights.checkpoint import EmaChoice, read_checkpoint
from examples.collapse.measure import figures_of, measure
from examples.collapse.pictures import draw_collapse, draw_collapse_matrices, draw_depths
from examples.digits.train import load_split
from examples.glyphs.variants import NAMES, glyph_variant


@pytest.fixture
def few_digits(digits, tmp_path):
    """As many as are calibrated on, and a tenth of those that are scored."""
    for split, count in (("train", 26), ("val", 6)):
        for label in sorted((digits / split).iterdir()):
            folder = tmp_path / "digits" / split / label.name
            folder.mkdir(parents=True)
            for path in sorted(label.iterdir())[:count]:
                shutil.copy(path, folder)
    return tmp_path / "digits"


def test_it_is_measured_and_drawn(few_digits, tmp_path):
    """With random weights of three blocks."""
    loaded = {name: _small(name, tmp_path) for name in NAMES}
    seen = [each for one in loaded.values() for each in measure(one, str(few_digits), images=4, calibration_images=64)]
    figures = [figures_of(each) for each in seen]
    assert [(each["network"], each["form"]) for each in figures] == [
        ("glyphs_deepvit_3", "PyTorch"), ("glyphs_deepvit_3", "INT8"), ("glyphs_vit_3", "PyTorch"), ("glyphs_vit_3", "INT8")
    ]  # fmt: skip
    assert all(0 <= each["top1"] <= 1 and each["blocks"] == 3 for each in figures)
    assert "after_the_mix" not in figures[-1]["similarity_to_the_block_before"]  # a plain ViT has no mix
    _same_as_by_hand(seen[0].analysis, loaded["glyphs_deepvit"], few_digits)
    for draw, drawn in ((draw_collapse, seen), (draw_collapse_matrices, seen), (draw_depths, figures)):
        draw(drawn, tmp_path / "drawn.png")
        with Image.open(tmp_path / "drawn.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 5


def _small(name, folder):
    variant = dataclasses.replace(glyph_variant(name, 3), num_classes=10, class_names=None)
    torch.manual_seed(0)
    save_file(create_deepvit(variant).state_dict(), folder / f"{variant.name}.safetensors")
    return loaded_from_checkpoint(variant, read_checkpoint(folder / f"{variant.name}.safetensors", EmaChoice.PREFER))


def _same_as_by_hand(analysis, loaded, digits):
    images, _ = load_split(str(digits), loaded.variant, "val")
    names = sorted(str(path.relative_to(digits / "val")) for path in (digits / "val").rglob("*.JPEG"))
    chosen = [images[names.index(name)] for name in analysis.images]
    maps = [TorchMaps(loaded.module).maps(torch.stack([each]).numpy()).after for each in chosen]
    expected = np.mean([cross_layer_similarity(each) for each in maps], axis=0)
    assert np.abs(expected - analysis.similarity_after).max() < 1e-4
