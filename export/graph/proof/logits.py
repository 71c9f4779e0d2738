"""What a stage of the parity ladder answers, in PyTorch or as a graph; the proof that a rewrite left it as it was."""

import contextlib
import functools
from collections.abc import Callable, Sequence

import numpy as np
import onnx
import torch

from deepvit.images.samples import float64_images
from deepvit.metrics.bounds import FOLD_BOUND, prove
from deepvit.metrics.distance import Float
from deepvit.model.network import DeepViT
from deepvit.runtime.artifact.manifest import BatchRange, ParityStage
from deepvit.runtime.ort.arithmetic import Arithmetic
from deepvit.runtime.ort.session import OnnxRuntimeSession
from deepvit.runtime.session.tensors import Images, Logits, check_images, check_logits, split_batches

from ..onnx_file import to_bytes
from .apart import run_apart

Answers = Callable[[onnx.ModelProto, Images], tuple[Logits, dict[str, float]]]  # logits, and tensor → largest magnitude


def torch_logits(module: torch.nn.Module, images: Float) -> Float:
    """Run `module` on images of its own dtype: (N, channels, H, W) → (N, classes)."""
    return _torch_logits([module], images)[0]


def _torch_logits(modules: Sequence[torch.nn.Module], images: Float) -> list[Float]:
    """Run modules that are alike on images, all at the same time."""

    def run(module: torch.nn.Module, image: Float) -> Float:
        with torch.inference_mode():
            logits: Float = module(torch.from_numpy(image)).numpy()
        return logits

    parts = np.split(images, len(images))
    tasks = [functools.partial(run, module, image) for module in modules for image in parts]
    return np.split(np.concatenate(run_apart(tasks)), len(modules))


class _ApartSession(OnnxRuntimeSession):
    """A session on the CPU that runs images apart, in batches of a size that the graph takes."""

    def __init__(self, content: bytes, name: str) -> None:
        one = BatchRange(min=1, opt=1, max=1)
        super().__init__(content, name=name, arithmetic=Arithmetic.AS_DECLARED, threads=1, batch=one)

    def run(self, images: Images) -> Logits:
        """See `runtime.session.Session.run`."""
        check_images(images, self.input)
        fixed = self.input.shape[0]
        parts = split_batches(images, fixed if isinstance(fixed, int) else 1)
        logits = run_apart(functools.partial(self._run_batch, part) for part in parts)
        return check_logits(np.concatenate(logits), self.name)


def graph_session(model: onnx.ModelProto | bytes, name: str) -> OnnxRuntimeSession:
    """Open a graph of any precision in ONNX Runtime on the CPU, to be measured."""
    return _ApartSession(model if isinstance(model, bytes) else to_bytes(model), name)


def graph_logits(model: onnx.ModelProto, images: Images, name: str) -> Logits:
    """Run a graph on images as it takes them; `name` is what errors call it."""
    with contextlib.closing(graph_session(model, name)) as session:
        return session.run(images)


def plain_answers(model: onnx.ModelProto, images: Images) -> tuple[Logits, dict[str, float]]:
    """Return a float32 graph's logits, and nothing of its activations."""
    return graph_logits(model, images, "the ONNX graph in float32"), {}


def prove_rewrite(stage: str, against: str, rewritten: DeepViT, original: DeepViT, images: Images) -> ParityStage:
    """Hold a rewritten model against the original, both in float64, on a few of `images` (N, channels, H, W).

    Raises:
        OutOfBoundsError: The rewritten model gives other logits.
    """
    wide = images[: float64_images(original.img_size)].astype(np.float64)
    got, expected = _torch_logits([rewritten, original], wide)
    return prove(stage, against, got, expected, FOLD_BOUND)
