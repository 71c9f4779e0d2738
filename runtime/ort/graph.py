"""Any ONNX graph in ONNX Runtime; the only file that loads the library. Safe to run from several threads at once."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..artifact.manifest import ANY_BATCH, BatchRange, Level
from ..artifact.self_contained import require_self_contained
from ..errors import InputError, MissingError, needed_for
from ..trt.machine import pci_bus_of
from .arithmetic import ROUNDED, Arithmetic
from .demands import Contents, contents_of
from .operator import operator_for
from .providers import (
    CPU,
    CUDA,
    CUDA_OPTIONS,
    DEVICE,
    INSTALL,
    PLUGIN_PROVIDER,
    PLUGIN_TAKES,
    TENSORRT,
    TENSORRT_RTX,
    forbid_tf32,
    options_of,
    plugin_library,
)
from .rounding import REDUCED, rounded_on_cpu

# ONNX Runtime 1.31 sends events of every session to its maker, also on Linux; it reads this when it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
with needed_for("running an ONNX model"):
    import onnxruntime as ort
    from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

ort.disable_telemetry_events()
Array = npt.NDArray[np.generic]
PCI_BUS = "pci_bus_id"  # of a device's metadata
NO_DEVICE = "Invalid device ID"  # what the CUDA and TensorRT providers say of a GPU that is not here
# What ONNX Runtime raises on files and inputs; its classes have no common base but Exception.
ORT_ERRORS: tuple[type[Exception], ...] = (
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoModel,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    UnicodeDecodeError,  # from names of damaged graphs
)


class OnnxGraph:
    """A loaded graph.

    Args:
        content: The ONNX file's bytes.
        name: What errors call it.
        provider: cpu, cuda, tensorrt, tensorrt-rtx, or another of ONNX Runtime's providers by its short name.
        arithmetic: Of FP16 and BF16 graphs on the CPU.
        threads: Threads of one run; as many as there are cores where None.
        batch: The batch sizes that engines are built for, by the providers that build any.
        device: The GPU, as CUDA counts, of the providers of NVIDIA's.

    Attributes:
        inputs: Name → ONNX Runtime's type, such as tensor(float), and shape with names for dynamic dimensions.
        outputs: As `inputs`.
        is_rounded: Whether every tensor is rounded to its declared type, see `Arithmetic.AS_DECLARED`.

    Raises:
        InputError: Not a model that ONNX Runtime can load.
        MissingError: No such provider here, or it refused to run the graph, as the CPU's does BF16 natively.
    """

    def __init__(
        self,
        content: bytes,
        *,
        name: str,
        provider: str = CPU,
        arithmetic: Arithmetic = Arithmetic.NATIVE,
        threads: int | None = None,
        batch: BatchRange = ANY_BATCH,
        device: int = 0,
    ) -> None:
        self.name = name
        require_self_contained(content, name)
        expected = _provider(provider)
        contents = contents_of(content) if provider.lower() == CPU else Contents()
        self.is_rounded: bool = arithmetic is Arithmetic.AS_DECLARED and not contents.types.isdisjoint(REDUCED)
        options = ort.SessionOptions()
        options.log_severity_level = 4  # fatal: errors come as exceptions, and a warning per node would bury ours
        options.execution_order = ort.ExecutionOrder.PRIORITY_BASED  # the graph's own order: tensors are freed sooner
        options.intra_op_num_threads = threads or os.cpu_count() or 1
        options.enable_mem_reuse = not self.is_rounded  # to plan it takes seconds where casts follow every node
        for key, value in contents.demands.entries:
            options.add_session_config_entry(key, value)
        try:
            providers = _configure(options, provider.lower(), content, batch, device)
            self._session = ort.InferenceSession(
                rounded_on_cpu(content) if self.is_rounded else content,
                options,
                providers=providers,
                enable_fallback=0,  # a failure is an error, not a second try elsewhere
            )
            self.inputs = _signature(self._session.get_inputs())
            self.outputs = _signature(self._session.get_outputs())
        except ORT_ERRORS as error:
            is_unknown = isinstance(error, ort_errors.NotImplemented)
            if is_unknown and not contents.demands.runs and not self.is_rounded:
                raise MissingError(_no_bfloat16(name)) from error
            if NO_DEVICE in str(error):
                raise MissingError(f"{provider} finds no GPU {device} here: {reason(error)}") from error
            raise InputError(
                f"{name} ({len(content)} bytes) is not a model that ONNX Runtime can load: {reason(error)}"
            ) from error
        if self._session.get_providers()[0] != expected:
            missing = f"; {INSTALL[provider.lower()]}" if provider.lower() in INSTALL else ""
            raise MissingError(
                f"ONNX Runtime fell back from {expected} to {self._session.get_providers()[0]} for {name}: the "
                f"libraries of {provider} cannot be loaded here{missing}"
            )

    @property
    def description(self) -> str:
        note = ROUNDED if self.is_rounded else ""
        return f"ONNX Runtime {ort.__version__} {self._session.get_providers()[0]}{note}"

    def run(self, feeds: dict[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Return `outputs`, or every one, by name.

        Raises:
            InputError: ONNX Runtime refused the inputs.
        """
        names = list(self.outputs if outputs is None else outputs)
        try:
            return dict(zip(names, self._session.run(names, feeds), strict=True))
        except ORT_ERRORS as error:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in feeds.items())
            raise InputError(f"{self.name} failed on {shapes}: {reason(error)}") from error


def _signature(values: Sequence[ort.NodeArg]) -> dict[str, tuple[str, tuple[int | str, ...]]]:
    return {value.name: (value.type, tuple(_dimension(size) for size in value.shape)) for value in values}


def _dimension(value: int | str | None) -> int | str:
    return value if isinstance(value, int) and value > 0 else str(value or "batch")


def _no_bfloat16(name: str) -> str:
    return (
        f"{name} computes in BF16, which ONNX Runtime's CPU provider does not: export with ‹fp16› or ‹fp32› for a CPU, "
        "install OpenVINO for one that has BF16 (pip install openvino), name a provider that computes in BF16, or open "
        "it with Arithmetic.AS_DECLARED, which rounds float32 to BF16"
    )


def reason(error: BaseException) -> str:
    """Return what ONNX Runtime says, in one line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].split(" : ", 2)[-1][:200]


def providers() -> dict[str, str]:
    """Return the providers that this ONNX Runtime was built with, and its plugin: short name → its own name."""
    built_in = {name.removesuffix("ExecutionProvider").lower(): name for name in ort.get_available_providers()}
    return built_in if plugin_library() is None else built_in | {TENSORRT_RTX: PLUGIN_PROVIDER}


def _provider(short_name: str) -> str:
    available = providers()
    if short_name.lower() not in available:
        hint = INSTALL.get(short_name.lower(), f"for NVIDIA GPUs: {INSTALL[CUDA]}")
        raise MissingError(
            f"ONNX Runtime {ort.__version__} here has no provider {short_name!r}, only {', '.join(sorted(available))}; "
            f"{hint}"
        )
    return available[short_name.lower()]


def _configure(
    options: ort.SessionOptions, provider: str, content: bytes, batch: BatchRange, device: int = 0
) -> list[str | tuple[str, dict[str, str]]] | None:
    """Return what `InferenceSession` takes as providers; None for the plugin, which goes into `options`."""
    on_device = {DEVICE: str(device)}
    if provider == CUDA:
        on_cuda = _provider(CUDA)
        if (library := operator_for(content)) is not None:
            options.register_custom_ops_library(library)
        return [(on_cuda, CUDA_OPTIONS | on_device)]
    if provider not in (TENSORRT, TENSORRT_RTX):
        return [_provider(provider)]
    forbid_tf32(provider)
    graph = ort.InferenceSession(content, options, providers=[providers()[CPU]]).get_inputs()[0]
    shape = tuple(_dimension(dimension) for dimension in graph.shape)
    settings = options_of(provider, content, graph.name, shape, batch)
    if provider == TENSORRT:
        return [(_provider(provider), settings | on_device), (_provider(CUDA), CUDA_OPTIONS | on_device)]
    options.add_provider_for_devices([_plugin_device(device)], settings)
    return None


def _plugin_device(device: int) -> ort.OrtEpDevice:
    """Register TensorRT-RTX's plugin and return the GPU that CUDA counts as `device`."""
    library = plugin_library()
    assert library is not None
    if not any(device.ep_name == PLUGIN_PROVIDER for device in ort.get_ep_devices()):
        try:
            ort.register_execution_provider_library(PLUGIN_PROVIDER, str(library))
        except ORT_ERRORS as error:
            why = str(error).rpartition("with error: ")[2].strip()
            raise MissingError(f"{PLUGIN_PROVIDER} cannot be loaded here: {why}") from error
    devices = [device for device in ort.get_ep_devices() if device.ep_name == PLUGIN_PROVIDER]
    if not devices:
        raise MissingError(f"{PLUGIN_PROVIDER} finds no GPU that it can use: {PLUGIN_TAKES}")
    return device_at(device, devices)


def device_at(device: int, devices: Sequence[ort.OrtEpDevice]) -> ort.OrtEpDevice:
    """Return which of the plugin's GPUs CUDA counts as `device`; the plugin leaves out those that it cannot use.

    Raises:
        MissingError: None of them.
    """
    by_bus = {each.device.metadata[PCI_BUS].lower(): each for each in devices if PCI_BUS in each.device.metadata}
    try:
        if not by_bus:
            raise LookupError(f"{PLUGIN_PROVIDER} does not say where its GPUs are")
        bus = pci_bus_of(device)
    except LookupError as error:
        if device != 0:
            raise MissingError(f"which GPU is number {device} cannot be told: {error}") from error
        return devices[0]
    if bus not in by_bus:
        raise MissingError(
            f"{PLUGIN_PROVIDER} cannot use GPU {device}, at {bus}: {PLUGIN_TAKES}; choose another with "
            "CUDA_VISIBLE_DEVICES"
        )
    return by_bus[bus]


def version() -> str:
    """Return ONNX Runtime's version, whichever package it came in."""
    return str(ort.__version__)


def has_level(level: Level) -> bool:
    """Return whether this ONNX Runtime has a level of optimisation."""
    return hasattr(ort.GraphOptimizationLevel, _name_of(level))


def plain_session(content: bytes, level: Level) -> ort.InferenceSession:
    """Open a graph on the CPU as anyone may, told nothing but how far to optimise it.

    Raises:
        ORT_ERRORS: It is refused.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 4  # fatal: what it refuses it says in the error too
    options.intra_op_num_threads = 1  # who opens several at once has no more cores for them
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _name_of(level))
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"], enable_fallback=0)


def _name_of(level: Level) -> str:
    return f"ORT_{'DISABLE_ALL' if level is Level.DISABLE else f'ENABLE_{level.name}'}"
