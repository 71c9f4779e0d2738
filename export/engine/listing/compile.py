"""A graph as TensorRT-RTX compiles it, on any machine: no GPU is asked for."""

import pathlib

from deepvit.progress import Share
from deepvit.runtime.artifact import MAX_MODEL_BYTES, Artifact
from deepvit.runtime.errors import DeviceError, InputError, MissingError
from deepvit.runtime.files import read_bounded
from deepvit.runtime.manifest import Backend, BatchRange
from deepvit.runtime.ort.arithmetic import Arithmetic
from deepvit.runtime.ort.graph import OnnxGraph
from deepvit.runtime.session import proved_model
from deepvit.runtime.trt.library import INSTALL, installed_version

from ..options import EngineOptions
from ..process import build_engine
from ..worker import Job
from .traffic import Compiled, kernels_of


def compile_kernels(artifact: Artifact, batch: int | None, compute_capability: str, bar: Share) -> Compiled:
    """Compile an artifact's graph for one batch size and return its kernels; nothing is written.

    Args:
        artifact: Of any precision.
        batch: The number of images; None where the graph takes one number alone.
        compute_capability: The GPU, as in 8.9.
        bar: Called as the compiler goes on.

    Raises:
        InputError: No batch, one that the graph does not take, or a GPU that TensorRT-RTX does not build for.
        MissingError: TensorRT-RTX is not installed.
        DeviceError: The compiler gave up, or does not list what it made.
    """
    manifest = artifact.manifest
    size = _batch(manifest.input.shape[0], manifest.batch.max, batch)
    _require_compiler()
    return _compiled(proved_model(artifact), size, compute_capability, bar)


def compile_lone_kernels(path: pathlib.Path, batch: int | None, compute_capability: str, bar: Share) -> Compiled:
    """Compile an ONNX file without a manifest, of one input; see `compile_kernels`.

    Raises:
        InputError: Also where it is no model that ONNX Runtime can load, or has other inputs.
    """
    content = read_bounded(path, MAX_MODEL_BYTES, "an ONNX model")
    inputs = OnnxGraph(content, name=str(path), arithmetic=Arithmetic.AS_DECLARED).inputs
    shapes = [shape for _, shape in inputs.values()]
    if len(shapes) != 1 or not shapes[0] or any(isinstance(size, str) for size in shapes[0][1:]):
        raise InputError(f"{path} takes {inputs}; expected one input that is open in nothing but its batch, the first")
    size = _batch(shapes[0][0], None, batch)
    _require_compiler()
    return _compiled(content, size, compute_capability, bar)


def _require_compiler() -> None:
    if installed_version(Backend.TENSORRT_RTX) is None:
        raise MissingError(
            f"‹kernels› are what TensorRT-RTX compiles, which needs no GPU; {INSTALL[Backend.TENSORRT_RTX]}"
        )


def _compiled(content: bytes, size: int, compute_capability: str, bar: Share) -> Compiled:
    options = EngineOptions(backend=Backend.TENSORRT_RTX, compute_capabilities=(compute_capability,))
    job = Job(options=options, batch=BatchRange(min=size, opt=size, max=size), timing_cache=None, is_run=False)
    build = build_engine(content, job, None, bar, lambda _: None)
    layers = build.layers()
    if layers is None:
        raise DeviceError(
            f"TensorRT-RTX {build.version} does not list the layers of what it builds; "
            f"{INSTALL[Backend.TENSORRT_RTX]} gives one that does"
        )
    return Compiled(
        version=build.version, compute_capability=compute_capability, batch=size, kernels=kernels_of(layers, size)
    )


def _batch(fixed: int | str, most: int | None, batch: int | None) -> int:
    """Return the batch size: only at a fixed one are the sizes of all tensors known."""
    if isinstance(fixed, str):
        if batch is None:
            raise InputError("‹kernels› needs ‹batch› N: only at a fixed batch are the sizes of all tensors known")
        if most is not None and batch > most:
            raise InputError(f"‹batch› {batch}: the graph was proved up to {most}; export again")
        return batch
    if batch not in (None, fixed):
        raise InputError(f"‹batch› {batch}: the graph takes batches of {fixed} alone")
    return fixed
