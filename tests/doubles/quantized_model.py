"""A calibrated model for tests: float32 graph, images, ranges; and weights with planted faults."""

import numpy as np
import torch

from deepvit.calibration.observe.equalization import Equalization
from deepvit.calibration.observe.histogram import Method
from deepvit.calibration.options import QuantizationOptions
from deepvit.export.graph.float32 import float32_graph
from deepvit.export.options import GraphOptions, Target
from deepvit.export.quantized.calibrated import calibrate_graph
from deepvit.export.quantized.plan import calibration_input
from deepvit.images.samples import parity_crops
from deepvit.model.load import LoadedModel, load_model
from deepvit.progress import log_step
from deepvit.runtime.artifact.manifest import Precision


def calibrated(
    loaded: LoadedModel, dataset=None, *, precision=Precision.INT8, target=Target.AUTO, images=None, **wanted
):
    """Return the float32 graph of `loaded`, and it calibrated."""
    graph = GraphOptions(precision=precision, target=target)
    source = float32_graph(loaded, graph.spec, parity_crops(dataset, 4, loaded.preprocessing()), log_step)
    options = QuantizationOptions(images=images, **wanted)
    inputs = calibration_input(loaded, options, dataset, log_step)
    return source, calibrate_graph(source, graph, options, inputs, log_step)


PLAIN_MAX = {"method": Method("max"), "equalization": Equalization.OFF}


def trained(name: str) -> LoadedModel:
    return load_model(name, pretrained=True)


@torch.no_grad()
def plant_outliers(model, channel: int = 7, factor: float = 100.0) -> None:
    """Make one channel of norm1, norm2 and V `factor` times as large; what reads it takes the factor away."""
    for block in model.blocks:
        attn = block.attn
        for norm, linear in ((block.norm1, attn.qkv), (block.norm2, block.mlp.fc1)):
            norm.weight[channel] *= factor
            norm.bias[channel] *= factor
            linear.weight[:, channel] /= factor
        value = 2 * attn.num_heads * attn.head_dim + channel
        attn.qkv.weight[value] *= factor
        attn.qkv.bias[value] *= factor
        attn.proj.weight[:, channel] /= factor


@torch.no_grad()
def plant_sensitive_linear(model, block: int = 2, weight: float = 300.0) -> str:
    """Give fc2 two hidden units that are alike, with large weights that cancel: rounding them is what hurts."""
    fc1, fc2 = model.blocks[block].mlp.fc1, model.blocks[block].mlp.fc2
    fc1.weight[1], fc1.bias[1] = fc1.weight[0], fc1.bias[0]
    fc2.weight[:, 0] += weight
    fc2.weight[:, 1] -= weight
    return f"blocks.{block}.mlp.fc2"


def images_of(loaded: LoadedModel, count: int = 4, seed: int = 0) -> np.ndarray:
    size = loaded.module.img_size
    return np.random.default_rng(seed).normal(0, 1, (count, 3, size, size)).astype(np.float32)
