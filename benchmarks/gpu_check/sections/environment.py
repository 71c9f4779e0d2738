"""What is here: the GPU by nvidia-smi, by CUDA and by PyTorch, the driver, the libraries, and what `doctor` says."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess

from deepvit.measure.doctor import examine
from deepvit.runtime.trt.driver import cuda_of_driver, has_cuda_python
from deepvit.runtime.trt.visible import visible_gpu

from ..findings import Findings
from ..places import Place

PACKAGES = re.compile(
    r"cuda-|cupy|nvidia-|onnx|tensorrt|torch|triton|timm|numpy|pydantic|rich|typer|ml.dtypes|pillow|safetensors"
)
STATE = (
    "clocks.sm", "clocks.max.sm", "clocks.mem", "temperature.gpu", "power.draw", "power.limit", "utilization.gpu",
    "memory.total", "memory.used", "ecc.mode.current", "mig.mode.current", "persistence_mode", "pcie.link.gen.current",
    "pcie.link.width.current",
)  # fmt: skip


def run(findings: Findings, place: Place) -> None:
    machine = place.machine()
    findings.note("compute capability", machine.compute_capability)
    findings.note("driver", machine.driver)
    driver = cuda_of_driver()
    findings.note("newest CUDA of the driver", "no driver" if driver is None else f"{driver[0]}.{driver[1]}")
    _state(findings, place)
    findings.note("NVIDIA_TF32_OVERRIDE", os.environ.get("NVIDIA_TF32_OVERRIDE", "not set"))
    if has_cuda_python():
        cuda = place.cuda()
        findings.equal(
            "compute capability, CUDA's beside nvidia-smi's", cuda.compute_capability, machine.compute_capability
        )
        _named(findings, "the GPU's name, CUDA's beside nvidia-smi's", cuda.gpu, machine.gpu)
    else:
        findings.skip("compute capability by CUDA", "cuda-python is not installed here")
    _torch(findings, place)
    for each in examine():
        findings.note(f"doctor: {each.ability}", f"{'yes' if each.works else 'no'}: {each.detail}")
    for distribution in sorted(importlib.metadata.distributions(), key=lambda each: each.name.lower()):
        if PACKAGES.match(distribution.name.lower()):
            findings.note(f"version of {distribution.name}", distribution.version)


def _named(findings: Findings, name: str, said: str, gpu: str | None) -> None:
    """Check a name of the GPU; that of a part of it goes on."""
    findings.check(name, said.startswith(gpu or "none"), said, f"begins with {gpu}")


def _state(findings: Findings, place: Place) -> None:
    """Note how the GPU is set, and who else computes on it: speeds are its own only where nobody does."""
    if place.is_fake or shutil.which("nvidia-smi") is None:
        findings.skip("the GPU's clocks and temperature", "no GPU here" if place.is_fake else "no nvidia-smi here")
        return
    for field, value in zip(STATE, _nvidia_smi(f"--query-gpu={','.join(STATE)}").split(","), strict=False):
        findings.note(field, value.strip())
    findings.note("processes that compute on the GPU", _nvidia_smi("--query-compute-apps=pid,used_memory") or "none")


def _nvidia_smi(query: str) -> str:
    command = ["nvidia-smi", query, "--format=csv,noheader", "-i", visible_gpu(0)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout.strip()


def _torch(findings: Findings, place: Place) -> None:
    if importlib.util.find_spec("torch") is None:
        findings.skip("PyTorch", "it is not installed here")
        return
    import torch

    findings.note("CUDA that PyTorch was built for", torch.version.cuda)
    if place.is_fake:
        findings.skip("what PyTorch sees", "there is no GPU here")
        return
    findings.equal("PyTorch sees the GPU", torch.cuda.is_available(), True)
    properties = torch.cuda.get_device_properties(0)
    _named(findings, "the GPU's name, PyTorch's beside nvidia-smi's", properties.name, place.machine().gpu)
    findings.figure("memory", properties.total_memory / 1e9, "GB")
    findings.figure("multiprocessors", properties.multi_processor_count, "pieces")
    findings.note("types", f"BF16 {torch.cuda.is_bf16_supported()}, capability {properties.major}.{properties.minor}")
