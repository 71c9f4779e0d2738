"""The variants with the golden weights, which the original implementation's logits were computed with."""

import json
import pathlib

import torch

import deepvit.model
from deepvit.export.graph.module import GraphModule
from deepvit.export.graph.onnx_file import to_bytes
from deepvit.export.graph.trace import onnx_from_module
from deepvit.export.options import GraphOptions, Target
from deepvit.model.rewrites.fold import ALWAYS, fold
from deepvit.model.rewrites.linears import pad_head_dim
from deepvit.runtime.preprocess import Preprocessing
from tests.model.golden import formula

HERE = pathlib.Path(__file__).parent
HALF = Preprocessing(resize=1, crop=1, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3, layout="NCHW")


def golden_model(name):
    """The model in float64, its golden images and logits, and all else that the golden file says."""
    golden = load_golden(name)
    model = deepvit.model.create_deepvit(deepvit.model.VARIANTS[name]).double().eval()
    model.load_state_dict(formula.state_dict(golden["state_dict"], golden["seed"]))
    images = formula.images(golden["batch"], golden["image_size"], golden["seed"])
    return model, images, torch.tensor(golden["logits"], dtype=torch.float64), golden


def golden_graph(name):
    """The float32 graph in the form for TensorRT, as an ONNX file's bytes."""
    model, images, _, _ = golden_model(name)
    folded, _ = fold(model, [*ALWAYS, pad_head_dim])
    spec = GraphOptions(target=Target.TENSORRT).spec
    graph = GraphModule(folded, spec, HALF).float()
    return to_bytes(onnx_from_module(graph, images[:1].float(), spec.batch, spec.opset))


def load_golden(name: str) -> dict:
    return json.loads((HERE / f"{name}.json").read_text())
