"""What a stage of the parity ladder answers, in PyTorch or as a graph; the proof that a rewrite left it as it was."""

import contextlib

import numpy as np
import onnx
import torch

from deepvit.images.samples import float64_images
from deepvit.metrics.bounds import FOLD_BOUND, prove
from deepvit.metrics.distance import Float
from deepvit.model.network import DeepViT
from deepvit.runtime.manifest import BatchRange, ParityStage
from deepvit.runtime.ort.arithmetic import Arithmetic
from deepvit.runtime.ort.session import OnnxRuntimeSession
from deepvit.runtime.session.tensors import Images, Logits

from .trace import to_bytes


def torch_logits(module: torch.nn.Module, images: Float, batch_size: int = 8) -> Float:
    """Run `module` on images of its own dtype: (N, channels, H, W) → (N, classes)."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            parts.append(module(torch.from_numpy(images[start : start + batch_size])).numpy())
    return np.concatenate(parts)


def graph_session(model: onnx.ModelProto | bytes, name: str) -> OnnxRuntimeSession:
    """Open a graph of any precision in ONNX Runtime on the CPU, in small batches, to be measured."""
    content, batch = model if isinstance(model, bytes) else to_bytes(model), BatchRange(min=1, opt=4, max=4)
    return OnnxRuntimeSession(content, name=name, arithmetic=Arithmetic.AS_DECLARED, batch=batch)


def graph_logits(model: onnx.ModelProto, images: Images, name: str) -> Logits:
    """Run a graph on images as it takes them; `name` is what errors call it."""
    with contextlib.closing(graph_session(model, name)) as session:
        return session.run(images)


def prove_rewrite(stage: str, against: str, rewritten: DeepViT, original: DeepViT, images: Images) -> ParityStage:
    """Hold a rewritten model against the original, both in float64, on a few of `images` (N, channels, H, W).

    Raises:
        OutOfBoundsError: The rewritten model gives other logits.
    """
    wide = images[: float64_images(original.img_size)].astype(np.float64)
    got, expected = torch_logits(rewritten, wide), torch_logits(original, wide)
    return prove(stage, against, got, expected, FOLD_BOUND)
