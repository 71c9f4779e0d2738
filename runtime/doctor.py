"""What this machine can do, and what is missing for the rest. Loads no heavy library: it asks for their versions."""

import dataclasses
import importlib.metadata
import importlib.util
import shutil
import subprocess

GPU_QUERY = ("nvidia-smi", "--query-gpu=name,compute_cap,driver_version,memory.total", "--format=csv,noheader")


@dataclasses.dataclass(frozen=True)
class Finding:
    """One ability: whether it works here, and by what or why not."""

    ability: str
    works: bool
    detail: str

    def as_dict(self) -> dict[str, str | bool]:
        return dataclasses.asdict(self)


def _version(*distributions: str) -> str | None:
    for name in distributions:
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _package(ability: str, module: str, distributions: tuple[str, ...], install: str) -> Finding:
    found = _version(*distributions) if importlib.util.find_spec(module) else None
    return Finding(ability, found is not None, found or f"missing {distributions[0]}; {install}")


def _onnxruntime() -> list[Finding]:
    if importlib.util.find_spec("onnxruntime") is None:
        return [Finding("run ONNX models", False, "missing onnxruntime; pip install onnxruntime")]
    from runtime.onnxruntime_graph import providers

    version = _version("onnxruntime", "onnxruntime-gpu") or "onnxruntime"
    found = [Finding("run ONNX models on the CPU", "cpu" in providers(), version)]
    for name, ability in (("cuda", "run ONNX models on an NVIDIA GPU"), ("tensorrt", "run ONNX models by TensorRT")):
        works = name in providers()
        found.append(
            Finding(ability, works, version if works else "pip install onnxruntime-gpu on a machine with a GPU")
        )
    return found


def _gpu() -> Finding:
    ability = "NVIDIA GPU"
    if shutil.which(GPU_QUERY[0]) is None:
        return Finding(ability, False, "none found: no nvidia-smi")
    try:
        asked = subprocess.run(GPU_QUERY, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603 - constant
    except (subprocess.SubprocessError, OSError) as error:
        return Finding(ability, False, f"nvidia-smi failed: {error}")
    return Finding(ability, bool(asked.stdout.strip()), asked.stdout.strip().replace("\n", "; ") or "none listed")


def examine() -> list[Finding]:
    """Return every ability that the commands of this project can use."""
    return [
        _package("load checkpoints and evaluate in PyTorch", "torch", ("torch",), "pip install torch"),
        _package("variants and datasets of timm", "timm", ("timm",), "pip install timm"),
        _package("write ONNX models", "onnxscript", ("onnxscript",), "pip install onnx onnxscript"),
        *_onnxruntime(),
        _gpu(),
        Finding("build and run TensorRT engines", False, "this version writes ONNX models; engines come later"),
        _package("fetch published checkpoints", "gdown", ("gdown",), "pip install gdown"),
        _package("read the ImageNet devkit's labels", "scipy", ("scipy",), "pip install scipy"),
    ]
