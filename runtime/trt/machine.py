"""What runs engines on this machine: its GPU, driver and TensorRT, asked without loading a library."""

import dataclasses
import re
import shutil
import subprocess

from ..artifact.manifest import Backend
from .library import installed_version
from .visible import visible_gpu

FIELDS = ("name", "compute_cap", "driver_version", "memory.total")
TIMEOUT_S = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
    """A GPU or none, and the installed TensorRT versions; `why_no_gpu` says what was found instead."""

    gpu: str | None = None
    compute_capability: str | None = None  # as in 8.9
    driver: str | None = None  # as in 580.95.05
    memory: str | None = None  # as in 24564 MiB
    why_no_gpu: str = ""
    versions: dict[Backend, str] = dataclasses.field(default_factory=dict)  # of the installed libraries

    @property
    def has_gpu(self) -> bool:
        return self.compute_capability is not None


def this_machine(device: int = 0) -> Machine:
    """Return this machine, by nvidia-smi.

    Args:
        device: The GPU, counted as CUDA counts: within CUDA_VISIBLE_DEVICES.
    """
    versions = {backend: version for backend in Backend if (version := installed_version(backend)) is not None}
    try:
        row = _row_of(device)
    except LookupError as error:
        return Machine(why_no_gpu=str(error), versions=versions)
    return Machine(
        gpu=row[0], compute_capability=row[1], driver=row[2], memory=row[3] if len(row) > 3 else None, versions=versions
    )


def pci_bus_of(device: int) -> str:
    """Return the PCI bus id of the GPU that CUDA counts as `device`, as in 0000:65:00.0, in small letters.

    Raises:
        LookupError: nvidia-smi does not know it, or is not here.
    """
    domain, _, rest = _row_of(device, ("pci.bus_id",))[0].lower().partition(":")
    return f"{domain[-4:]}:{rest}"  # nvidia-smi writes eight digits of the domain, Linux four


def _row_of(device: int, fields: tuple[str, ...] = FIELDS) -> list[str]:
    """Return fields of a GPU; LookupError says why there is none."""
    if shutil.which("nvidia-smi") is None:
        raise LookupError("no nvidia-smi here")
    gpu = visible_gpu(device)
    if gpu.startswith("MIG-"):
        gpu = _parent_of(gpu)
    rows = _nvidia_smi(f"--query-gpu={','.join(fields)}", "--format=csv,noheader", "-i", gpu)
    row = [field.strip() for field in rows[0].split(",")] if rows else []
    if len(row) < min(3, len(fields)):
        raise LookupError(f"nvidia-smi said: {' '.join(rows)[:200] or 'nothing'}")
    return row


def _parent_of(instance: str) -> str:
    """Return the id of the GPU that a MIG instance is a part of: an instance has no row of its own."""
    if named := re.match(r"MIG-(GPU-[0-9a-fA-F-]+)/", instance):  # as drivers before 470 wrote it
        return named[1]
    gpu = ""
    for line in _nvidia_smi("-L"):
        found = re.search(r"UUID: ((?:GPU|MIG)-[^)]+)\)", line)
        if found and found[1].startswith("GPU-"):
            gpu = found[1]
        if found and found[1].startswith(instance):
            return gpu
    raise LookupError(f"nvidia-smi has no {instance}")


def _nvidia_smi(*arguments: str) -> list[str]:
    try:
        process = subprocess.run(  # noqa: S603
            ["nvidia-smi", *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise LookupError(f"nvidia-smi failed: {error}") from error
    if process.returncode != 0:
        answer = " ".join((process.stderr or process.stdout).split())[:200] or "nothing"
        raise LookupError(f"nvidia-smi said: {answer}")
    return process.stdout.strip().splitlines()
