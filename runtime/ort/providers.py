"""ONNX Runtime's execution providers for NVIDIA GPUs, by the short names of `--provider`, and their options.

Engines that a provider builds are cached in a folder named after the SHA-256 of the ONNX file, so that a changed model
never meets an old engine.
"""

import hashlib
import importlib.util
import logging
import os
import pathlib

from ..artifact.manifest import BatchRange
from ..artifact.versions import numbers_of
from ..files import cache_folder

logger = logging.getLogger(__name__)
CPU, CUDA, TENSORRT, TENSORRT_RTX = "cpu", "cuda", "tensorrt", "tensorrt-rtx"
PLUGIN_PACKAGE = "onnxruntime_ep_nv_tensorrt_rtx"
PLUGIN_PROVIDER = "NvTensorRTRTXExecutionProvider"
PLUGIN_LIBRARY = "libonnxruntime_providers_nv_tensorrt_rtx.so"
# The plugin takes GPUs of these compute capabilities, and of 12.0 and newer: fewer than TensorRT-RTX itself builds for.
PLUGIN_CAPABILITIES = ("8.6", "8.9")
PLUGIN_TAKES = f"it takes RTX cards, of compute capability {', '.join(PLUGIN_CAPABILITIES)}, and 12.0 or newer"
DEVICE = "device_id"  # of the CUDA and TensorRT providers; the plugin is handed the device itself
CUDA_OPTIONS = {"use_tf32": "0"}  # on by default: FP32 products of 10 bits of significand
TF32_OVERRIDE = "NVIDIA_TF32_OVERRIDE"  # what NVIDIA's libraries read for the whole process; 0 takes TF32 away
INSTALL = {
    CUDA: "pip install onnxruntime-gpu, in place of onnxruntime",
    TENSORRT: "pip install onnxruntime-gpu tensorrt, in place of onnxruntime",
    TENSORRT_RTX: "pip install onnxruntime-ep-nv-tensorrt-rtx-cu13",
}


def plugin_library() -> pathlib.Path | None:
    """Return TensorRT-RTX's plugin for ONNX Runtime where its package is installed."""
    spec = importlib.util.find_spec(PLUGIN_PACKAGE)
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    path = pathlib.Path(folders[0]) / PLUGIN_LIBRARY if folders else None
    return path if path is not None and path.is_file() else None


def plugin_takes(compute_capability: str) -> bool:
    """Return whether TensorRT-RTX's plugin runs on GPUs of this compute capability, as in 8.9."""
    return compute_capability in PLUGIN_CAPABILITIES or numbers_of(compute_capability) >= (12,)


def forbid_tf32(provider: str) -> None:
    """Take TF32 away from this process where `provider` has no option for it: TensorRT's builders allow it by default.

    Strong typing does not: TF32 is how they multiply float32. It is to be called before the provider's library is
    loaded (github.com/microsoft/onnxruntime/issues/26029). Where the environment says otherwise, that is a warning.
    """
    if provider not in (TENSORRT, TENSORRT_RTX):
        return
    chosen = os.environ.setdefault(TF32_OVERRIDE, "0")
    if chosen != "0":
        logger.warning("%s=%s: %s may compute FP32 in TF32, unset it or set it to 0", TF32_OVERRIDE, chosen, provider)


def options_of(
    provider: str, content: bytes, input_name: str, shape: tuple[int | str, ...], batch: BatchRange
) -> dict[str, str]:
    """Return the options of `provider` for an ONNX graph of one input.

    There is no precision among them: given none, the TensorRT provider builds strongly typed networks, which obey the
    graph's types (github.com/microsoft/onnxruntime/pull/18707); see `forbid_tf32`.

    Args:
        provider: Its short name.
        content: The ONNX file's bytes, whose hash names the cache.
        input_name: The graph's input.
        shape: Its shape, a string where it is dynamic.
        batch: The batch sizes that engines are built and tuned for.
    """
    if provider not in (TENSORRT, TENSORRT_RTX):
        return {}
    # Engines of earlier versions, which lie in folders of another name, may compute in TF32.
    folder = str(cache_folder(f"onnxruntime-{provider}-ieee", hashlib.sha256(content).hexdigest()))
    sizes = {"min": batch.min, "opt": batch.opt, "max": batch.max}
    prefix = "trt" if provider == TENSORRT else "nv"
    options = {}
    if isinstance(shape[0], str):
        for name, size in sizes.items():
            rest = "x".join(str(dimension) for dimension in shape[1:])
            options[f"{prefix}_profile_{name}_shapes"] = f"{input_name}:{size}x{rest}"
    if provider == TENSORRT:
        options |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": folder}
        options |= {"trt_timing_cache_enable": "1", "trt_timing_cache_path": folder}
    else:
        options |= {"nv_runtime_cache_path": folder}
    return options
