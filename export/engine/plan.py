"""What building an engine is going to do: checked before anything is built; the build itself works by it."""

import dataclasses
import logging
import pathlib
import tempfile

from deepvit.images.samples import default_images, parity_images
from deepvit.images.sources import ImageSource
from deepvit.runtime import artifact as artifacts
from deepvit.runtime.artifact import Artifact
from deepvit.runtime.artifact.manifest import Backend, BatchRange, Grid, Manifest, Precision
from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.files import require_room
from deepvit.runtime.preprocess import FILES, DecodePolicy
from deepvit.runtime.trt.driver import require_run_time
from deepvit.runtime.trt.library import INSTALL, MODULES
from deepvit.runtime.trt.machine import Machine

from .. import stages
from .census import QUANTIZED
from .fast_types import why_slow
from .options import EngineOptions

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EnginePlan:
    """An engine that nothing speaks against as far as can be told before it is built.

    Attributes:
        artifact: What it is built for.
        options: How, with the GPUs that it is for.
        machine: This one.
        batch: The profile.
        parity: The images that prove it; None where it cannot run here.
        graph_bytes: The size of model.onnx; the plan has about the same.
    """

    artifact: Artifact
    options: EngineOptions
    machine: Machine
    batch: BatchRange
    parity: ImageSource | None
    graph_bytes: int

    @property
    def stages(self) -> tuple[str, ...]:
        """What is done, in the words of the bar."""
        return (stages.building(self.options.backend),)

    @property
    def measures(self) -> tuple[str, ...]:
        """What is found out: the layers' types, and where the engine runs its answers."""
        backend = self.options.backend.value
        if self.parity is None:
            return (
                f"the {backend} engine's layers by type; no GPU here can run it, so that its answers are not known",
            )
        answers = f"its answers against {artifacts.MODEL} on {len(self.parity)} images"
        return (f"the {backend} engine's layers by type, and {answers}",)


def plan_engine(
    artifact: Artifact,
    options: EngineOptions,
    machine: Machine,
    imagenet: str | None = None,
    policy: DecodePolicy = FILES,
) -> EnginePlan:
    """Plan an engine for an artifact; nothing is written, and the graph is not read.

    Raises:
        InputError: The graph or an option is not for this library.
        MissingError: The library, the GPU, what runs the engine or room on the disk is not here.
    """
    if artifact.manifest.graph.attention_maps is not None:
        raise InputError(
            f"{artifact.folder} gives its attention maps, which no engine does; export it without ‹attention_maps›"
        )
    options = dataclasses.replace(options, compute_capabilities=require_target(options, machine))
    _check_precision(artifact.manifest, options, machine)
    batch = _batch(artifact.manifest, options.batch)
    _check_strippable(artifact.manifest, options, machine)
    size = artifact.manifest.files[artifacts.MODEL].bytes
    require_room(artifact.folder, size, None)  # the plan has about the size of the graph
    require_room(pathlib.Path(tempfile.gettempdir()), 2 * size, "TMPDIR")
    runs_here = machine.has_gpu and (
        options.backend is Backend.TENSORRT or machine.compute_capability in options.compute_capabilities
    )
    if runs_here:
        require_run_time(options.backend)
    count = default_images(artifact.manifest.preprocess.crop)
    return EnginePlan(
        artifact=artifact,
        options=options,
        machine=machine,
        batch=batch,
        parity=parity_images(imagenet, count, policy) if runs_here else None,
        graph_bytes=size,
    )


def _check_precision(manifest: Manifest, options: EngineOptions, machine: Machine) -> None:
    """Refuse a graph that no engine takes, and say where the precision will not pay.

    Raises:
        InputError: Unsigned activations, which only a CPU takes, or FP8 for a GPU without it.
    """
    if manifest.calibration is not None and manifest.calibration.grid is Grid.UINT8:
        raise InputError(
            "the artifact was quantised with unsigned activations for a CPU, which TensorRT does not take; export "
            "again without ‹target› cpu"
        )
    own = (machine.compute_capability,) if machine.compute_capability else ()
    why = why_slow(manifest.precision, options.compute_capabilities or own, options.backend)
    if why is None or (manifest.calibration is not None and manifest.calibration.weight_only):
        return
    if manifest.precision is Precision.FP8:
        raise InputError(why)
    logger.warning("%s", why)


def why_not_here(options: EngineOptions, machine: Machine) -> str | None:
    """Return in a few words why `machine` cannot build this engine; None where it can."""
    if options.backend not in machine.versions:
        return f"{MODULES[options.backend]} is not installed"
    if machine.has_gpu or options.compute_capabilities:
        return None
    if options.backend is Backend.TENSORRT:
        return f"tensorrt builds on the GPU that it builds for, and here is none ({machine.why_no_gpu})"
    return "tensorrt-rtx needs no GPU, but ‹compute_capability› 8.9,12.0 to tell it which to build for"


def require_target(options: EngineOptions, machine: Machine) -> tuple[str, ...]:
    """Return the compute capabilities of a TensorRT-RTX engine; nothing for TensorRT.

    Raises:
        MissingError: The library is not installed, or nothing says for which GPU to build.
    """
    why = why_not_here(options, machine)
    if why is not None:
        advice = f"; {INSTALL[options.backend]}" if options.backend not in machine.versions else ""
        raise MissingError(f"‹target› {options.backend.value} cannot be built here: {why}{advice}")
    if options.backend is Backend.TENSORRT:
        return ()
    return options.compute_capabilities or (str(machine.compute_capability),)


def _check_strippable(manifest: Manifest, options: EngineOptions, machine: Machine) -> None:
    """Refuse to leave out weights that cannot be fitted in again.

    TensorRT folds those of Q/DQ nodes into its kernels ("these folded weights cannot be refitted", it warns).
    TensorRT-RTX compiles the kernels of a refittable engine when it builds, which takes a GPU.
    """
    if options.weight_stripped and manifest.precision in QUANTIZED:
        precision = manifest.precision.value
        raise InputError(f"‹weight_stripped›: the weights of {precision} cannot be fitted in again; leave it out")
    if options.weight_stripped and options.backend is Backend.TENSORRT_RTX and not machine.has_gpu:
        raise MissingError(
            f"‹weight_stripped› with ‹target› tensorrt-rtx needs a GPU to build on ({machine.why_no_gpu}); leave it out"
        )


def _batch(manifest: Manifest, batch: BatchRange | None) -> BatchRange:
    """Return the engine's batch sizes: what was asked for, within what the graph takes."""
    own = manifest.batch
    if batch is None:
        return own
    is_fixed = not isinstance(manifest.input.shape[0], str)
    if is_fixed and (batch.min, batch.max) != (own.min, own.max):
        raise InputError(f"‹batch› {batch}: the graph takes batches of {own.max} alone")
    if not is_fixed and batch.max > own.max:
        raise InputError(f"‹batch› {batch}: the graph was proved up to {own.max}; export again")
    return batch
