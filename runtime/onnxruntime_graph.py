"""Any ONNX graph in ONNX Runtime; the only file that loads the library. Safe to run from several threads at once."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from runtime.errors import InputError, MissingError
from runtime.rounding import has_reduced_floats, rounded_on_cpu

try:
    import onnxruntime as ort
    from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors
except ImportError as error:
    raise MissingError("running an ONNX model needs ONNX Runtime; pip install onnxruntime") from error

Array = npt.NDArray[np.generic]
CPU = "CPUExecutionProvider"
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

    On the CPU, FP16 and BF16 graphs compute in float32 with every tensor rounded to its declared type, since ONNX
    Runtime's CPU kernels would otherwise skip those roundings (FP16) or refuse the graph (BF16).

    Args:
        content: The ONNX file's bytes.
        name: What errors call it.
        provider: cpu, cuda, tensorrt, openvino, or another of ONNX Runtime's providers by its short name.
        threads: Threads of one run; as many as there are cores where None.

    Raises:
        InputError: Not a model that ONNX Runtime can load.
        MissingError: No such provider here, or it refused to run the graph.
    """

    def __init__(self, content: bytes, *, name: str, provider: str = "cpu", threads: int | None = None) -> None:
        self.name = name
        chosen = _provider(provider)
        self._is_rounded = chosen == CPU and has_reduced_floats(content)
        options = ort.SessionOptions()
        options.log_severity_level = 4  # fatal: errors come as exceptions, and a warning per node would bury ours
        options.execution_order = ort.ExecutionOrder.PRIORITY_BASED  # the graph's own order: tensors are freed sooner
        options.intra_op_num_threads = threads or os.cpu_count() or 1
        try:
            self._session = ort.InferenceSession(
                rounded_on_cpu(content) if self._is_rounded else content,
                options,
                providers=[chosen],
                enable_fallback=0,  # a failure is an error, not a second try elsewhere
            )
        except ORT_ERRORS as error:
            raise InputError(
                f"{name} ({len(content)} bytes) is not a model that ONNX Runtime can load: {_why(error)}"
            ) from error
        if self._session.get_providers()[0] != chosen:
            raise MissingError(f"ONNX Runtime fell back from {chosen} to {self._session.get_providers()[0]} for {name}")

    @property
    def description(self) -> str:
        how = ", every tensor rounded to its declared type" if self._is_rounded else ""
        return f"ONNX Runtime {ort.__version__} {self._session.get_providers()[0]}{how}"

    @property
    def inputs(self) -> dict[str, tuple[str, tuple[int | str, ...]]]:
        """Name → ONNX Runtime's type, such as tensor(float), and shape with names for dynamic dimensions."""
        return {i.name: (i.type, tuple(_dimension(d) for d in i.shape)) for i in self._session.get_inputs()}

    @property
    def outputs(self) -> dict[str, tuple[str, tuple[int | str, ...]]]:
        """As `inputs`."""
        return {o.name: (o.type, tuple(_dimension(d) for d in o.shape)) for o in self._session.get_outputs()}

    def run(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """Return every output by name.

        Raises:
            InputError: ONNX Runtime refused the inputs.
        """
        names = [output.name for output in self._session.get_outputs()]
        try:
            return dict(zip(names, self._session.run(names, feeds), strict=True))
        except ORT_ERRORS as error:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in feeds.items())
            raise InputError(f"{self.name} failed on {shapes}: {_why(error)}") from error


def _dimension(value: int | str | None) -> int | str:
    return value if isinstance(value, int) and value > 0 else str(value or "batch")


def _why(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].split(" : ", 2)[-1][:200]


def providers() -> dict[str, str]:
    """Return this ONNX Runtime's providers: short name → its own name."""
    return {name.removesuffix("ExecutionProvider").lower(): name for name in ort.get_available_providers()}


def _provider(short_name: str) -> str:
    available = providers()
    if short_name.lower() not in available:
        raise MissingError(
            f"ONNX Runtime {ort.__version__} here has no provider {short_name!r}, only {', '.join(sorted(available))}; "
            "for NVIDIA GPUs: pip install onnxruntime-gpu"
        )
    return available[short_name.lower()]
