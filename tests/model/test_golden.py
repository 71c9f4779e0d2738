"""The reference and its folds against what the original implementation computes, all nine variants."""

import pytest
import torch

import deepvit.model
from deepvit.model.rewrites.fold import FOLDS, fold
from deepvit.runtime.ort.graph import OnnxGraph
from tests.model.golden.golden_model import golden_model

PUBLISHED = [row.name for row in deepvit.model.VARIANTS.values() if row.is_published]
FLOAT64_BOUND = 1e-9  # the golden logits are rounded to 12 decimals
FP32_BOUND = 1e-4


@pytest.mark.parametrize("name", PUBLISHED)
def test_model_fold_and_onnx_give_the_original_logits(name, variant_onnx):
    model, images, expected, golden = golden_model(name)
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == golden["state_dict"]
    assert sum(p.numel() for p in model.parameters()) == golden["parameters"] == deepvit.model.VARIANTS[name].parameters
    with torch.inference_mode():
        assert (model(images) - expected).abs().max() <= FLOAT64_BOUND
        folded, reports = fold(model, FOLDS)
        assert (folded(images) - expected).abs().max() <= FLOAT64_BOUND
    assert sum(report.applied for report in reports) > 0
    logits = OnnxGraph(variant_onnx(name), name=name).run({"images": images.float().numpy()})["logits"]
    assert (torch.from_numpy(logits) - expected).abs().max() <= FP32_BOUND


def test_a_changed_weight_is_seen():
    model, images, expected, _ = golden_model("deepvit_16")
    with torch.inference_mode():
        model.blocks[7].attn.reatten_matrix.weight[0, 0] += 1e-3
        assert (model(images) - expected).abs().max() > FLOAT64_BOUND
