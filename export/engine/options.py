"""What an engine can be asked for. Options check themselves; an illegal combination cannot be built."""

import dataclasses
import pathlib
import re

from deepvit.runtime.errors import InputError
from deepvit.runtime.manifest import Backend, BatchRange, HardwareCompatibility

LEVELS = range(6)  # builder_optimization_level


@dataclasses.dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """One engine. `None` means the library's default, or what the artifact says.

    Attributes:
        backend: The library that builds it.
        batch: The profile; the artifact's batch sizes where None.
        compute_capabilities: What a TensorRT-RTX engine is built for; this machine's GPU where empty.
        workspace_bytes: The most scratch memory that a layer may take.
        optimization_level: 0 (builds fastest) to 5 (searches longest).
        hardware_compatible: On which GPUs of TensorRT the engine runs.
        version_compatible: Whether later TensorRT versions of the same major can load it, by host code in the plan.
        weight_stripped: Whether the plan leaves out the weights, which it takes from model.onnx when it is loaded.
        timing_cache: The file of measured kernels; one in the cache folder where None.
    """

    backend: Backend = Backend.TENSORRT
    batch: BatchRange | None = None
    compute_capabilities: tuple[str, ...] = ()
    workspace_bytes: int | None = None
    optimization_level: int | None = None
    hardware_compatible: HardwareCompatibility = HardwareCompatibility.NONE
    version_compatible: bool = False
    weight_stripped: bool = False
    timing_cache: pathlib.Path | None = None

    def __post_init__(self) -> None:
        if self.workspace_bytes is not None and not 1 << 20 <= self.workspace_bytes <= 1 << 40:
            raise InputError(f"--workspace {self.workspace_bytes >> 20}: expected 1 to {1 << 20} MiB")
        if self.optimization_level is not None and self.optimization_level not in LEVELS:
            raise InputError(f"--optimization-level {self.optimization_level}: expected 0 to {LEVELS.stop - 1}")
        if self.backend is Backend.TENSORRT and self.compute_capabilities:
            raise InputError(
                "--compute-capability is for --target tensorrt-rtx; TensorRT builds for the GPU that it runs on, and "
                "--hardware-compatible for others"
            )
        if self.backend is Backend.TENSORRT_RTX:
            self._check_rtx()

    def _check_rtx(self) -> None:
        """TensorRT-RTX compiles kernels where the plan is loaded: what trims a plan of compiled ones is not for it."""
        if self.hardware_compatible is not HardwareCompatibility.NONE:
            raise InputError("--hardware-compatible is for --target tensorrt; give --compute-capability 8.9,12.0")
        if self.version_compatible:
            raise InputError("--version-compatible is for --target tensorrt; TensorRT-RTX has no such plans")
        if self.timing_cache is not None:
            raise InputError("--timing-cache is for --target tensorrt; TensorRT-RTX measures no kernels when it builds")


def compute_capabilities_from_text(text: str | None) -> tuple[str, ...]:
    """Parse 8.9,12.0.

    Raises:
        InputError: Not compute capabilities.
    """
    if text is None:
        return ()
    parts = tuple(part.strip() for part in text.split(","))
    if not all(re.fullmatch(r"[0-9]{1,2}\.[0-9]", part) for part in parts) or len(set(parts)) != len(parts):
        raise InputError(f"--compute-capability {text}: expected one or more, as in 8.9,12.0")
    return parts
