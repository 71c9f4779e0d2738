"""The reference and its folds against what the original implementation computes, all nine variants."""

import formula
import pytest
import torch
from conftest import load_golden

import deepvit
from deepvit.fold import ALWAYS, FOLDS, fold
from export.graph_module import GraphModule
from export.onnx_graph import onnx_from_module, to_bytes
from export.options import Batch, InputForm, MixForm, QkvForm
from runtime.onnxruntime_graph import OnnxGraph
from runtime.preprocess import Preprocessing

PUBLISHED = [row.name for row in deepvit.VARIANTS.values() if row.is_published]
FLOAT64_BOUND = 1e-9  # the golden logits are rounded to 12 decimals
FP32_BOUND = 1e-4
HALF = Preprocessing(resize=1, crop=1, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3, layout="NCHW")


def _golden_model(name):
    golden = load_golden(name)
    model = deepvit.create_deepvit(deepvit.VARIANTS[name]).double().eval()
    model.load_state_dict(formula.state_dict(golden["state_dict"], golden["seed"]))
    images = formula.images(golden["batch"], golden["image_size"], golden["seed"])
    return model, images, torch.tensor(golden["logits"], dtype=torch.float64), golden


@pytest.mark.parametrize("name", PUBLISHED)
def test_model_fold_and_onnx_give_the_original_logits(name):
    model, images, expected, golden = _golden_model(name)
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == golden["state_dict"]
    assert sum(p.numel() for p in model.parameters()) == golden["parameters"] == deepvit.VARIANTS[name].parameters
    with torch.inference_mode():
        assert (model(images) - expected).abs().max() <= FLOAT64_BOUND
        folded, reports = fold(model, FOLDS)
        assert (folded(images) - expected).abs().max() <= FLOAT64_BOUND
    assert sum(report.applied for report in reports) > 0
    usual, _ = fold(model, ALWAYS)
    graph = GraphModule(usual, MixForm.MATMUL_VALUE, QkvForm.FUSED, InputForm.FLOAT32, HALF).float()
    onnx_model = onnx_from_module(graph, images[:1].float(), Batch(), 20)
    logits = OnnxGraph(to_bytes(onnx_model), name=name).run({"images": images.float().numpy()})["logits"]
    assert (torch.from_numpy(logits) - expected).abs().max() <= FP32_BOUND


def test_a_changed_weight_is_seen():
    model, images, expected, _ = _golden_model("deepvit_16")
    with torch.inference_mode():
        model.blocks[7].attn.reatten_matrix.weight[0, 0] += 1e-3
        assert (model(images) - expected).abs().max() > FLOAT64_BOUND
