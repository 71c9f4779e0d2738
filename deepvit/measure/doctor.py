"""What this machine can do, and what is missing for the rest. What runs models is tried, libraries are looked up."""

import dataclasses
import importlib.metadata
import importlib.util
import pathlib
import shutil

from deepvit.export.engine.fast_types import fast_types
from deepvit.runtime.artifact.manifest import Backend, Precision
from deepvit.runtime.errors import PACKAGES, PYTORCH_MODULES, DeviceError, InputError, MissingError
from deepvit.runtime.files import cache_root
from deepvit.runtime.kernels.plugin_record import Use, named_plugin, record_of, why_no_plugin
from deepvit.runtime.openvino.library import OPENVINO, has_bfloat16, is_installed, version
from deepvit.runtime.ort.providers import CPU, CUDA, TENSORRT, TENSORRT_RTX
from deepvit.runtime.session.saturation import saturates
from deepvit.runtime.trt.driver import has_cuda_python
from deepvit.runtime.trt.library import INSTALL, MODULES
from deepvit.runtime.trt.machine import Machine, this_machine

ABILITIES = {
    CPU: "run ONNX models on the CPU",
    CUDA: "run ONNX models with ‹provider› cuda",
    TENSORRT: "run ONNX models with ‹provider› tensorrt",
    TENSORRT_RTX: "run ONNX models with ‹provider› tensorrt-rtx",
}
COMPILERS = ("c++", "g++", "clang++")
MEMORY = pathlib.Path("/proc/meminfo")
CONTAINER = pathlib.Path("/sys/fs/cgroup")
EXPORT_BYTES = 4 << 30
DISK_BYTES = 1 << 30


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
        _libraries("export, and run variants in PyTorch", *PYTORCH_MODULES),
        *(_provider(provider, ability) for provider, ability in ABILITIES.items()),
        _openvino(),
        _int8(),
        _gpu(machine),
        _fast_types(machine),
        *(_build(backend, machine) for backend in Backend),
        *(_run(backend, machine) for backend in Backend),
        *_plugin(machine),
        _libraries("draw, and write reports", "matplotlib", "jinja2"),
        _libraries("package for Triton", "tritonclient"),
        _libraries("compare layers", "polygraphy"),
        _libraries("share classify and eval among machines with ‹ray›", "ray"),
        _libraries("fetch published checkpoints", "gdown"),
        _libraries("read the ImageNet devkit's labels", "scipy"),
        _compiler(),
        _memory(),
        _disk(),
    ]


def _libraries(ability: str, *modules: str) -> Finding:
    """Look up what `ability` needs beyond what every installation has; nothing is loaded."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        packages = dict.fromkeys(PACKAGES[module] for module in missing)
        return Finding(ability, False, f"missing {', '.join(missing)}; pip install {' '.join(packages)}")
    return Finding(ability, True, ", ".join(f"{module} {_version(module)}" for module in modules))


def _version(module: str) -> str:
    try:
        return importlib.metadata.version(module.replace("_", "-"))
    except importlib.metadata.PackageNotFoundError:
        return "of an unknown version"


def _compiler() -> Finding:
    """Look for what builds the C++ runtime: without it Python and Triton still run."""
    ability = "build the C++ runtime"
    found = {name: shutil.which(name) for name in (*COMPILERS, "cmake")}
    compiler = next((path for name, path in found.items() if path and name in COMPILERS), None)
    if compiler and found["cmake"]:
        return Finding(ability, True, f"{compiler}, {found['cmake']}")
    missing = [*([] if compiler else ["a C++ compiler"]), *([] if found["cmake"] else ["cmake"])]
    return Finding(ability, False, f"missing {' and '.join(missing)}; on Debian: apt-get install g++ cmake")


def _memory() -> Finding:
    """Return whether the largest variants can be exported in the memory that is free now."""
    ability = f"memory for an export ({EXPORT_BYTES >> 30} GiB for the largest)"
    free = free_memory()
    if free is None:
        return Finding(ability, True, "this system does not say how much is free")
    return Finding(ability, free >= EXPORT_BYTES, f"{free / 2**30:.1f} GiB are free")


def free_memory() -> int | None:
    """Return how many bytes a new process can have: of the machine, or of its container where that has fewer."""
    try:
        (line,) = [line for line in MEMORY.read_text().splitlines() if line.startswith("MemAvailable:")]
    except (OSError, ValueError):
        return None
    free = 1024 * int(line.split()[1])
    try:
        most, used = (int((CONTAINER / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no container, or one without a limit, whose "max" is no number
        return free
    return min(free, most - used)


def _disk() -> Finding:
    ability = f"disk for artifacts and the cache ({DISK_BYTES >> 30} GiB)"
    here = shutil.disk_usage(pathlib.Path.cwd()).free
    root = cache_root()
    cache = shutil.disk_usage(next(each for each in (root, *root.absolute().parents) if each.is_dir())).free
    detail = f"{here / 2**30:.1f} GiB are free here, {cache / 2**30:.1f} GiB for the cache in {root}"
    return Finding(ability, min(here, cache) >= DISK_BYTES, detail)


def _provider(provider: str, ability: str) -> Finding:
    """Run a graph of one node with `provider`."""
    if importlib.util.find_spec("onnxruntime") is None:
        return Finding(ability, False, "missing onnxruntime; pip install onnxruntime")
    from deepvit.runtime.ort.probe import probe

    try:
        return Finding(ability, True, probe(provider))
    except (MissingError, InputError, DeviceError) as error:
        return Finding(ability, False, str(error))


def _openvino() -> Finding:
    """Load it, and ask what the processor does in hardware."""
    ability = "run ONNX models with ‹provider› openvino"
    if not is_installed():
        return _libraries(ability, OPENVINO)
    try:
        arithmetic = "in hardware" if has_bfloat16() else "not in hardware: it computes in FP32"
    except MissingError as error:
        return Finding(ability, False, str(error))
    return Finding(ability, True, f"OpenVINO {version()}; BF16 {arithmetic}")


def _int8() -> Finding:
    ability = "run INT8 exactly on the CPU"
    if saturates():
        return Finding(ability, False, "no VNNI: sums of products saturate; export ‹fp32› ‹target› cpu instead")
    return Finding(ability, True, "products of eight bits do not saturate on this processor")


def _gpu(machine: Machine) -> Finding:
    if not machine.has_gpu:
        return Finding("NVIDIA GPU", False, machine.why_no_gpu)
    detail = f"{machine.gpu}, compute capability {machine.compute_capability}, driver {machine.driver}"
    return Finding("NVIDIA GPU", True, f"{detail}, {machine.memory}")


def _fast_types(machine: Machine) -> Finding:
    ability = "INT8 or FP8 faster than FP16 on the GPU"
    if machine.compute_capability is None:
        return Finding(ability, False, f"no GPU ({machine.why_no_gpu}); for CPUs: export ‹int8› ‹target› cpu")
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


def _plugin(machine: Machine) -> list[Finding]:
    """Hold the plugin that is named against its record and this machine; no finding where none is named."""
    path = named_plugin()
    if path is None:
        return []
    ability = "fused re-attention in engines"
    try:
        record = record_of(path)
    except InputError as error:
        return [Finding(ability, False, str(error))]
    backend = next((each for each in Backend if each.value == record.backend), None)
    version = None if backend is None else machine.versions.get(backend)
    if backend is None or version is None:
        return [Finding(ability, False, f"{path} is for {record.backend}, which is not here to build or run engines")]
    own = (machine.compute_capability,) if machine.compute_capability else ()
    why = why_no_plugin(Use(backend=backend, version=version, compute_capabilities=own))
    return [Finding(ability, why is None, why or f"{path}, for {MODULES[backend]} {version}")]


def _run(backend: Backend, machine: Machine) -> Finding:
    ability = f"run {backend.plan}"
    missing = [] if backend in machine.versions else [f"{MODULES[backend]} ({INSTALL[backend]})"]
    if not has_cuda_python():
        missing.append("cuda-python (pip install cuda-python)")
    if not machine.has_gpu:
        missing.append(f"an NVIDIA GPU ({machine.why_no_gpu})")
    return Finding(ability, not missing, f"missing {', '.join(missing)}" if missing else f"on {machine.gpu}")
