"""What an engine can be asked for. Options check themselves; an illegal combination cannot be built."""

import dataclasses
import pathlib
import re
from typing import Annotated, ClassVar

from deepvit.runtime.artifact.manifest import Backend, BatchRange, HardwareCompatibility
from deepvit.runtime.errors import InputError
from deepvit.runtime.options import Help

from ..options import batch_from_text

LEVELS = range(6)  # builder_optimization_level


def _bytes_of(mebibytes: int) -> int:
    return mebibytes << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How engines are built, whichever library builds them. `None` means the library's default.

    Attributes:
        batch: The profile; the artifact's batch sizes where None.
        workspace_bytes: The most scratch memory that a layer may take.
        optimization_level: 0 (builds fastest) to 5 (searches longest).
        hardware_compatible: On which GPUs of TensorRT the engine runs.
        version_compatible: Whether later TensorRT versions can load it, 11 a plan of 10 too, by host code in it.
        weight_stripped: Whether the plan leaves out the weights, which it takes from model.onnx when it is loaded.
        timing_cache: The file of measured kernels; one in the cache folder where None.
    """

    heading: ClassVar[str] = "Engine"

    batch: Annotated[
        BatchRange | None,
        Help("Batch sizes MIN:OPT:MAX of the profile; the artifact's if not given.", parse=batch_from_text),
    ] = None
    workspace_bytes: Annotated[
        int | None, Help("Most MiB of scratch memory that a layer may take.", name="workspace", parse=_bytes_of)
    ] = None
    optimization_level: Annotated[int | None, Help("How long to search: 0 builds fastest, 5 searches longest.")] = None
    hardware_compatible: Annotated[
        HardwareCompatibility, Help("Where the engine runs: none (here), same-compute-capability or ampere-plus.")
    ] = HardwareCompatibility.NONE
    version_compatible: Annotated[
        bool, Help("Let later TensorRT load the plan, 11 one of 10 too, by host code in it.")
    ] = False
    weight_stripped: Annotated[
        bool, Help("Leave the weights in model.onnx, and fit them in when the plan is loaded.")
    ] = False
    timing_cache: Annotated[
        pathlib.Path | None, Help("File of measured kernels; one in the cache folder if not given.")
    ] = None

    def __post_init__(self) -> None:
        if self.workspace_bytes is not None and not 1 << 20 <= self.workspace_bytes <= 1 << 40:
            raise InputError(f"‹workspace› {self.workspace_bytes >> 20}: expected 1 to {1 << 20} MiB")
        if self.optimization_level is not None and self.optimization_level not in LEVELS:
            raise InputError(f"‹optimization_level› {self.optimization_level}: expected 0 to {LEVELS.stop - 1}")
        if self.weight_stripped and self.version_compatible:
            raise InputError("‹weight_stripped› and ‹version_compatible›: such a plan takes no weights; give one")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EngineOptions(BuildOptions):
    """One engine.

    Attributes:
        backend: The library that builds it.
        compute_capabilities: What a TensorRT-RTX engine is built for; this machine's GPU where empty.
    """

    backend: Backend = Backend.TENSORRT
    compute_capabilities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.backend is Backend.TENSORRT and self.compute_capabilities:
            raise InputError(
                "‹compute_capability› is for ‹target› tensorrt-rtx; TensorRT builds for the GPU that it runs on, and "
                "‹hardware_compatible› for others"
            )
        if self.backend is Backend.TENSORRT_RTX:
            self._check_rtx()

    def _check_rtx(self) -> None:
        """TensorRT-RTX compiles kernels where the plan is loaded: what trims a plan of compiled ones is not for it."""
        if self.hardware_compatible is not HardwareCompatibility.NONE:
            raise InputError("‹hardware_compatible› is for ‹target› tensorrt; give ‹compute_capability› 8.9,12.0")
        if self.version_compatible:
            raise InputError("‹version_compatible› is for ‹target› tensorrt; TensorRT-RTX has no such plans")
        if self.timing_cache is not None:
            raise InputError("‹timing_cache› is for ‹target› tensorrt; TensorRT-RTX measures no kernels when it builds")


def compute_capabilities_from_text(text: str) -> tuple[str, ...]:
    """Parse 8.9,12.0.

    Raises:
        InputError: Not compute capabilities.
    """
    parts = tuple(part.strip() for part in text.split(","))
    if not all(re.fullmatch(r"[0-9]{1,2}\.[0-9]", part) for part in parts) or len(set(parts)) != len(parts):
        raise InputError(f"‹compute_capability› {text}: expected one or more, as in 8.9,12.0")
    return parts


ComputeCapabilities = Annotated[
    tuple[str, ...],
    Help(
        "GPUs that tensorrt-rtx builds for, as in 8.9,12.0; the one here if not given.",
        name="compute_capability",
        parse=compute_capabilities_from_text,
        heading="Engine",
    ),
]
