"""What runs engines on this machine: its GPU, driver and TensorRT, asked without loading a library."""

import dataclasses
import os
import re
import shutil
import subprocess

from ..manifest import Backend
from .library import installed_version

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


def this_machine() -> Machine:
    """Return this machine, by nvidia-smi: the first GPU that CUDA_VISIBLE_DEVICES names, else the first."""
    versions = {backend: version for backend in Backend if (version := installed_version(backend)) is not None}
    try:
        row = _first_gpu()
    except LookupError as error:
        return Machine(why_no_gpu=str(error), versions=versions)
    return Machine(
        gpu=row[0], compute_capability=row[1], driver=row[2], memory=row[3] if len(row) > 3 else None, versions=versions
    )


def _first_gpu() -> list[str]:
    """Return the fields of the first GPU; LookupError says why there is none."""
    if shutil.which("nvidia-smi") is None:
        raise LookupError("no nvidia-smi here")
    command = ["nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        first = visible.split(",")[0].strip()
        if not first or first == "-1":
            raise LookupError(f"CUDA_VISIBLE_DEVICES={visible!r} hides them")
        if re.fullmatch(r"\d+|GPU-[0-9a-f-]+", first):  # a MIG instance has no row of its own
            command += ["-i", first]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)  # noqa: S603
    except (subprocess.SubprocessError, OSError) as error:
        raise LookupError(f"nvidia-smi failed: {error}") from error
    rows = process.stdout.strip().splitlines()
    row = [field.strip() for field in rows[0].split(",")] if rows else []
    if process.returncode != 0 or len(row) < 3:
        answer = " ".join((process.stderr or process.stdout).split())[:200] or "nothing"
        raise LookupError(f"nvidia-smi said: {answer}")
    return row
