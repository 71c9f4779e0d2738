"""The example that shows attention collapse, with networks of three blocks that are trained for one epoch."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from deepvit.measure.attention.analysis import cross_layer_similarity
from deepvit.measure.attention.torch_maps import TorchMaps
from deepvit.model.weights.checkpoint import EmaChoice, model_from_checkpoint, read_checkpoint
from examples.collapse.measure import figures_of, measure, trained_how
from examples.collapse.pictures import draw_collapse, draw_collapse_matrices
from examples.collapse.train import collapse_variants, train_both
from examples.digits.train import load_split


def test_the_two_networks_are_alike_but_for_reattention():
    plain, deep = collapse_variants().values()
    assert (plain.architecture.depth, deep.architecture.depth) == (16, 16)
    assert [each.architecture.reattention_blocks for each in (plain, deep)] == [0, 16]


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


def test_it_is_trained_measured_and_drawn(few_digits, tmp_path):
    variants = collapse_variants(depth=3, embed_dim=16)
    train_both(variants, str(few_digits), tmp_path, epochs=1)
    seen = []
    for name, variant in variants.items():
        weights = tmp_path / f"{name}.safetensors"
        assert trained_how(weights)["epochs"] == 1
        seen += measure(variant, weights, str(few_digits), images=4)
    figures = [figures_of(each) for each in seen]
    assert [(each["network"], each["form"]) for each in figures] == [
        ("digits_vit_3", "PyTorch"), ("digits_vit_3", "INT8"), ("digits_deepvit_3", "PyTorch"), ("digits_deepvit_3", "INT8")
    ]  # fmt: skip
    assert all(0 <= each["top1"] <= 1 for each in figures)
    assert "after_the_mix" not in figures[0]["similarity_to_the_block_before"]  # a plain ViT has no mix
    _same_as_by_hand(seen[2].analysis, variants["digits_deepvit_3"], tmp_path, few_digits)
    for draw in (draw_collapse, draw_collapse_matrices):
        draw(seen, tmp_path / "drawn.png")
        with Image.open(tmp_path / "drawn.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 5


def _same_as_by_hand(analysis, variant, folder, digits):
    module = model_from_checkpoint(variant, read_checkpoint(folder / f"{variant.name}.safetensors", EmaChoice.PREFER))
    images, _ = load_split(str(digits), variant, "val")
    names = sorted(str(path.relative_to(digits / "val")) for path in (digits / "val").rglob("*.JPEG"))
    chosen = [images[names.index(name)] for name in analysis.images]
    maps = [TorchMaps(module).maps(torch.stack([each]).numpy()).after for each in chosen]
    expected = np.mean([cross_layer_similarity(each) for each in maps], axis=0)
    assert np.abs(expected - analysis.similarity_after).max() < 1e-4
