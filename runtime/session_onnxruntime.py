"""Sessions of ONNX Runtime. Safe to call from several threads at once."""

from __future__ import annotations

import os

import numpy as np

from runtime.artifact import BatchRange, Tensor
from runtime.errors import InputError, MissingError
from runtime.rounding import has_reduced_floats, rounded_on_cpu
from runtime.session import Images, Logits, check_images, check_logits, split_batches

try:
    import onnxruntime as ort
    from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors
except ImportError as error:
    raise MissingError("running an ONNX model needs ONNX Runtime; pip install onnxruntime") from error

DTYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}
LARGEST_BATCH = 64  # where no manifest says otherwise
# All that ONNX Runtime raises on files and inputs derives from Exception directly; these are its classes.
ORT_ERRORS = tuple(
    getattr(ort_errors, name)
    for name in ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile", "NotImplemented")
) + (ort_errors.RuntimeException, ort_errors.EPFail)


class OnnxRuntimeSession:
    """An ONNX graph with one input and logits as its first output.

    On the CPU, FP16 and BF16 graphs compute in float32 with every tensor rounded to its declared type, since ONNX
    Runtime's CPU kernels would otherwise skip those roundings (FP16) or refuse the graph (BF16).

    Args:
        content: The ONNX file's bytes.
        name: What errors call it.
        provider: cpu, cuda, tensorrt, openvino, or another of ONNX Runtime's providers by its short name.
        threads: Threads of one run; as many as there are cores where None.
        batch: Batch sizes to accept in one run; larger batches are split.
    """

    def __init__(
        self,
        content: bytes,
        *,
        name: str,
        provider: str = "cpu",
        threads: int | None = None,
        batch: BatchRange | None = None,
    ) -> None:
        self.name = name
        self.batch = batch or BatchRange(min=1, opt=8, max=LARGEST_BATCH)
        chosen = _provider(provider)
        is_cpu = chosen == "CPUExecutionProvider"
        self._rounded = is_cpu and has_reduced_floats(content)
        options = ort.SessionOptions()
        options.log_severity_level = 3  # errors: a warning per optimised node would bury ours
        options.intra_op_num_threads = threads or os.cpu_count() or 1
        try:
            self._session = ort.InferenceSession(
                rounded_on_cpu(content) if self._rounded else content, options, providers=[chosen]
            )
        except ORT_ERRORS as error:
            raise InputError(f"{name} ({len(content)} bytes) is not a model that ONNX Runtime can load: {_why(error)}") from error
        if self._session.get_providers()[0] != chosen:
            raise MissingError(f"ONNX Runtime fell back from {chosen} to {self._session.get_providers()[0]} for {name}")
        self.input = _input_of(self._session, name)
        self._output = self._session.get_outputs()[0].name

    @property
    def description(self) -> str:
        how = ", tensors rounded to their declared type" if self._rounded else ""
        return f"ONNX Runtime {ort.__version__} {self._session.get_providers()[0]}{how}"

    def run(self, images: Images) -> Logits:
        """See `runtime.session.Session.run`."""
        check_images(images, self.input)
        parts = [self.run_batch(part) for part in split_batches(images, self.batch.max)]
        return check_logits(np.concatenate(parts) if len(parts) > 1 else parts[0], self.name)

    def run_batch(self, images: Images) -> Logits:
        """Run one batch as it is: no splitting, no check of input and logits."""
        try:
            logits: Logits = self._session.run([self._output], {self.input.name: images})[0]
        except ORT_ERRORS as error:
            raise InputError(f"{self.name} failed on a batch of {len(images)}: {_why(error)}") from error
        return logits

    def run_outputs(self, images: Images) -> dict[str, np.ndarray]:
        """Return every output of the graph by name, for one batch."""
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, {self.input.name: images}), strict=True))

    def close(self) -> None:
        """Free the session's memory."""
        del self._session


def _why(error: BaseException) -> str:
    return str(error).strip().splitlines()[0].split(" : ", 2)[-1][:200]


def _provider(short_name: str) -> str:
    available = {name.removesuffix("ExecutionProvider").lower(): name for name in ort.get_available_providers()}
    if short_name.lower() not in available:
        raise MissingError(
            f"ONNX Runtime {ort.__version__} here has no provider {short_name!r}, only {', '.join(sorted(available))}; "
            "for NVIDIA GPUs: pip install onnxruntime-gpu"
        )
    return available[short_name.lower()]


def _input_of(session: ort.InferenceSession, name: str) -> Tensor:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or inputs[0].type not in DTYPES or len(inputs[0].shape) != 4:
        found = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
        raise InputError(f"{name} takes {found}; expected one input of 4-D float32 or uint8 images")
    if outputs[0].type != "tensor(float)" or len(outputs[0].shape) != 2:
        raise InputError(f"{name} gives {outputs[0].type} {outputs[0].shape}; expected float32 logits (B, classes)")
    shape = tuple(d if isinstance(d, int) and d > 0 else str(d or "batch") for d in inputs[0].shape)
    return Tensor(name=inputs[0].name, shape=shape, dtype=DTYPES[inputs[0].type])  # type: ignore[arg-type]
