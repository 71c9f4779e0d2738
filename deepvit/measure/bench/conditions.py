"""The conditions under which a benchmark ran: processor, memory, GPU, versions, and the clocks that were seen."""

import importlib.metadata
import os
import pathlib
import platform
import re
import shutil
import subprocess

from deepvit.metrics.result import Record
from deepvit.processor import CPUINFO, processor_name
from deepvit.runtime.trt.machine import this_machine

PACKAGES = ("torch", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx", "numpy")


class Conditions(Record):
    """A machine, and what is installed on it."""

    cpu: str
    cores: int
    avx512: bool
    avx512_vnni: bool  # products of eight bits
    avx512_bf16: bool = False
    amx: bool = False  # products of both, in tiles
    memory_gib: float | None
    gpu: str | None
    driver: str | None
    python: str
    versions: dict[str, str]


class Clocks(Record):
    """The least and the most MHz that were seen; None where the machine does not tell."""

    cpu_mhz: tuple[float, float] | None = None
    gpu_mhz: tuple[float, float] | None = None


def conditions_here() -> Conditions:
    """Describe this machine."""
    flags = next((line.split() for line in _cpuinfo().splitlines() if line.startswith("flags")), [])
    machine = this_machine()
    return Conditions(
        cpu=processor_name(),
        cores=os.cpu_count() or 1,
        avx512="avx512f" in flags,
        avx512_vnni="avx512_vnni" in flags,
        avx512_bf16="avx512_bf16" in flags,
        amx="amx_tile" in flags,
        memory_gib=_memory_gib(),
        gpu=machine.gpu,
        driver=machine.driver,
        python=platform.python_version(),
        versions={name: version for name in PACKAGES if (version := _version(name)) is not None},
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError):
        return None


def seen_clocks(before: Clocks) -> Clocks:
    """Return `before` widened by the clocks of this moment."""
    cpu = [float(value) for value in re.findall(r"^cpu MHz\s*:\s*([\d.]+)", _cpuinfo(), re.MULTILINE)]
    return Clocks(cpu_mhz=_widened(before.cpu_mhz, cpu), gpu_mhz=_widened(before.gpu_mhz, _gpu_query("clocks.sm")))


def _cpuinfo() -> str:
    return CPUINFO.read_text() if CPUINFO.is_file() else ""


def _widened(before: tuple[float, float] | None, values: list[float]) -> tuple[float, float] | None:
    clocks = [*(before or ()), *values]
    return (min(clocks), max(clocks)) if clocks else None


def _gpu_query(field: str) -> list[float]:
    rows = _nvidia_smi(f"--query-gpu={field}", "--format=csv,noheader,nounits")
    return [float(row) for row in rows if re.fullmatch(r"[\d.]+", row.strip())]


def device_bytes(pid: int) -> int | None:
    """Return what a process holds of the GPU's memory; None where there is no GPU or it does not tell."""
    rows = _nvidia_smi("--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits")
    sizes_mib = [
        int(mib)
        for own, _, mib in (row.partition(",") for row in rows)
        if own.strip() == str(pid) and mib.strip().isdigit()
    ]
    return sum(sizes_mib) << 20 if sizes_mib else None


def _nvidia_smi(*arguments: str) -> list[str]:
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        process = subprocess.run(["nvidia-smi", *arguments], capture_output=True, text=True, timeout=20, check=False)  # noqa: S603, S607
    except (subprocess.SubprocessError, OSError):
        return []
    return process.stdout.splitlines() if process.returncode == 0 else []


def peak_host_bytes() -> int | None:
    """Return the most memory that this process has had; None where the system does not tell."""
    status = pathlib.Path("/proc/self/status")
    peak = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE) if status.is_file() else None
    return int(peak[1]) << 10 if peak else None
