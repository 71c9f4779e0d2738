"""What this machine can do, and what is missing for the rest. What runs models is tried, libraries are looked up."""

import dataclasses
import importlib.metadata
import importlib.util

from deepvit.export.engine.fast_types import fast_types
from deepvit.runtime.errors import DeviceError, InputError, MissingError
from deepvit.runtime.manifest import Backend, Precision
from deepvit.runtime.ort.providers import CPU, CUDA, TENSORRT, TENSORRT_RTX
from deepvit.runtime.trt.library import INSTALL, MODULES
from deepvit.runtime.trt.machine import Machine, this_machine

ABILITIES = {
    CPU: "run ONNX models on the CPU",
    CUDA: "run ONNX models with ‹provider› cuda",
    TENSORRT: "run ONNX models with ‹provider› tensorrt",
    TENSORRT_RTX: "run ONNX models with ‹provider› tensorrt-rtx",
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One ability: whether it works here, and by what or why not."""

    ability: str
    works: bool
    detail: str


def examine() -> list[Finding]:
    """Return every ability that the commands of this project can use."""
    machine = this_machine()
    return [
        _package("load checkpoints and evaluate in PyTorch", "torch", ("torch",), "pip install torch"),
        _package("variants and datasets of timm", "timm", ("timm",), "pip install timm"),
        _package("write ONNX models", "onnxscript", ("onnxscript",), "pip install onnx onnxscript"),
        *(_provider(provider, ability) for provider, ability in ABILITIES.items()),
        _gpu(machine),
        _fast_types(machine),
        *(_build(backend, machine) for backend in Backend),
        *(_run(backend, machine) for backend in Backend),
        _package("compare layers", "polygraphy", ("polygraphy",), "pip install 'polygraphy>=0.53'"),
        _package("fetch published checkpoints", "gdown", ("gdown",), "pip install gdown"),
        _package("read the ImageNet devkit's labels", "scipy", ("scipy",), "pip install scipy"),
    ]


def _version(*distributions: str) -> str | None:
    for name in distributions:
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _package(ability: str, module: str, distributions: tuple[str, ...], install: str) -> Finding:
    version = _version(*distributions) if importlib.util.find_spec(module) else None
    return Finding(ability, version is not None, version or f"missing {distributions[0]}; {install}")


def _provider(provider: str, ability: str) -> Finding:
    """Run a graph of one node with `provider`."""
    if importlib.util.find_spec("onnxruntime") is None:
        return Finding(ability, False, "missing onnxruntime; pip install onnxruntime")
    from deepvit.runtime.ort.probe import probe

    try:
        return Finding(ability, True, probe(provider))
    except (MissingError, InputError, DeviceError) as error:
        return Finding(ability, False, str(error))


def _gpu(machine: Machine) -> Finding:
    if not machine.has_gpu:
        return Finding("NVIDIA GPU", False, machine.why_no_gpu)
    detail = f"{machine.gpu}, compute capability {machine.compute_capability}, driver {machine.driver}"
    return Finding("NVIDIA GPU", True, f"{detail}, {machine.memory}")


def _fast_types(machine: Machine) -> Finding:
    ability = "fast INT8 or FP8"
    if machine.compute_capability is None:
        return Finding(ability, False, f"no GPU ({machine.why_no_gpu})")
    types = fast_types(machine.compute_capability)
    if not types:
        return Finding(ability, False, f"compute capability {machine.compute_capability} is unknown here; measure it")
    tensorrt = _names(types)
    rtx = _names(fast_types(machine.compute_capability, Backend.TENSORRT_RTX))
    detail = f"by NVIDIA's tables {tensorrt} in TensorRT, {rtx} in TensorRT-RTX; weights in INT8 save memory everywhere"
    return Finding(ability, bool(types & {Precision.INT8, Precision.FP8}), detail)


def _names(types: frozenset[Precision]) -> str:
    return ", ".join(sorted(precision.value.upper() for precision in types))


def _build(backend: Backend, machine: Machine) -> Finding:
    ability = f"build engines with ‹target› {backend.value}"
    if backend not in machine.versions:
        return Finding(ability, False, f"missing {MODULES[backend]}; {INSTALL[backend]}")
    version = f"{MODULES[backend]} {machine.versions[backend]}"
    if backend is Backend.TENSORRT and not machine.has_gpu:
        return Finding(ability, False, f"{version}, but no GPU to build on ({machine.why_no_gpu})")
    return Finding(ability, True, version if machine.has_gpu else f"{version}; without a GPU: ‹compute_capability› 8.9")


def _run(backend: Backend, machine: Machine) -> Finding:
    ability = f"run {backend.plan}"
    missing = [] if backend in machine.versions else [f"{MODULES[backend]} ({INSTALL[backend]})"]
    if importlib.util.find_spec("cuda") is None or importlib.util.find_spec("cuda.bindings") is None:
        missing.append("cuda-python (pip install cuda-python)")
    if not machine.has_gpu:
        missing.append(f"an NVIDIA GPU ({machine.why_no_gpu})")
    return Finding(ability, not missing, f"missing {', '.join(missing)}" if missing else f"on {machine.gpu}")
