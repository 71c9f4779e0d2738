"""An artifact's graph as TensorRT-RTX compiles it, on any machine: no GPU is asked for."""

from deepvit.progress import Share
from deepvit.runtime.artifact import Artifact
from deepvit.runtime.errors import DeviceError, InputError, MissingError
from deepvit.runtime.manifest import Backend, BatchRange, Manifest
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
    size = _batch(artifact.manifest, batch)
    if installed_version(Backend.TENSORRT_RTX) is None:
        raise MissingError(
            f"‹kernels› are what TensorRT-RTX compiles, which needs no GPU; {INSTALL[Backend.TENSORRT_RTX]}"
        )
    options = EngineOptions(backend=Backend.TENSORRT_RTX, compute_capabilities=(compute_capability,))
    job = Job(options=options, batch=BatchRange(min=size, opt=size, max=size), timing_cache=None, is_run=False)
    build = build_engine(proved_model(artifact), job, None, bar, lambda _: None)
    layers = build.layers()
    if layers is None:
        raise DeviceError(
            f"TensorRT-RTX {build.version} does not list the layers of what it builds; "
            f"{INSTALL[Backend.TENSORRT_RTX]} gives one that does"
        )
    return Compiled(
        version=build.version, compute_capability=compute_capability, batch=size, kernels=kernels_of(layers, size)
    )


def _batch(manifest: Manifest, batch: int | None) -> int:
    """Return the batch size: only at a fixed one are the sizes of all tensors known."""
    fixed = manifest.input.shape[0]
    if isinstance(fixed, str):
        if batch is None:
            raise InputError("‹kernels› needs ‹batch› N: only at a fixed batch are the sizes of all tensors known")
        if batch > manifest.batch.max:
            raise InputError(f"‹batch› {batch}: the graph was proved up to {manifest.batch.max}; export again")
        return batch
    if batch not in (None, fixed):
        raise InputError(f"‹batch› {batch}: the graph takes batches of {fixed} alone")
    return fixed
