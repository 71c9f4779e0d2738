"""What figures damage: tiny artifacts, checkpoints, images, the digits."""

import pathlib

import torch
from safetensors.torch import save_file

import deepvit.model
from deepvit.export.options import ExportOptions, GraphOptions
from deepvit.export.pipeline import export_artifact
from deepvit.model.architecture import Stem
from deepvit.model.load import LoadedModel
from deepvit.model.weights.random import randomize
from deepvit.runtime.artifact.manifest import Precision, Weights
from tests.doubles.tiny_models import TINY

PRECISIONS = (Precision.FP32, Precision.FP16, Precision.BF16)


def tiny_model() -> LoadedModel:
    """Two blocks, 32×32, random weights."""
    model = randomize(deepvit.model.create_deepvit(TINY[Stem.CNN]))
    return LoadedModel(variant=TINY[Stem.CNN], module=model, weights=Weights(source="random", sha256="0" * 64, seed=0))


def tiny_artifacts(folder: pathlib.Path) -> None:
    """Write an artifact a precision."""
    torch.set_num_threads(1)
    for precision in PRECISIONS:
        graph = GraphOptions(precision=precision)
        export_artifact(tiny_model(), ExportOptions(graph=graph, output=folder / precision.value, parity_images=2))


def tiny_checkpoints(folder: pathlib.Path) -> None:
    """Write the tiny model's weights in both formats."""
    state = tiny_model().module.state_dict()
    torch.save({"state_dict": state, "epoch": 3}, folder / "tiny.pth")
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "tiny.safetensors")
