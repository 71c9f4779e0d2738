"""Sessions of ONNX Runtime. Safe to call from several threads at once."""

from typing import Literal

import numpy as np
import pydantic

from ..artifact.manifest import ANY_BATCH, BatchRange, Identity, Tensor, names_or_numbers
from ..errors import InputError, validation_faults
from ..session.tensors import Images, Logits, check_images, check_logits, padded_batch, split_batches
from .arithmetic import Arithmetic
from .graph import OnnxGraph

DTYPES: dict[str, Literal["float32", "uint8"]] = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}


class OnnxRuntimeSession:
    """An ONNX graph with one input of images and float32 logits as its first output.

    Args:
        content: The ONNX file's bytes.
        name: What errors call it.
        provider: cpu, cuda, tensorrt, tensorrt-rtx, or another of ONNX Runtime's by its short name.
        arithmetic: Of FP16 and BF16 graphs on the CPU.
        threads: Threads of one run; as many as there are cores where None.
        batch: Batch sizes to accept in one run; larger batches are split.
        identity: What the graph is, where somebody says.
        device: The GPU, as CUDA counts, of the providers of NVIDIA's.

    Raises:
        InputError: Not such a graph.
        MissingError: No such provider here, or it refused to run the graph.
    """

    def __init__(
        self,
        content: bytes,
        *,
        name: str,
        provider: str = "cpu",
        arithmetic: Arithmetic = Arithmetic.NATIVE,
        threads: int | None = None,
        batch: BatchRange = ANY_BATCH,
        identity: Identity | None = None,
        device: int = 0,
    ) -> None:
        self.name, self.batch, self.identity = name, batch, identity
        self._graph = OnnxGraph(
            content, name=name, provider=provider, arithmetic=arithmetic, threads=threads, batch=batch, device=device
        )
        self.is_emulated = self._graph.is_rounded
        self.input = _input_of(self._graph)
        self._output, (_, (_, classes)) = next(iter(self._graph.outputs.items()))
        self.classes = int(classes)

    @property
    def description(self) -> str:
        return self._graph.description

    @property
    def class_names(self) -> tuple[str, ...]:
        return names_or_numbers(self.identity, self.classes)

    @property
    def graph(self) -> OnnxGraph:
        """The graph itself, for who wants other outputs than logits."""
        return self._graph

    def run(self, images: Images) -> Logits:
        """See `runtime.session.Session.run`."""
        check_images(images, self.input)
        fixed = self.input.shape[0]
        largest = fixed if isinstance(fixed, int) else self.batch.max
        parts = [self._run_batch(part) for part in split_batches(images, largest)]
        return check_logits(np.concatenate(parts), self.name)

    def _run_batch(self, images: Images) -> Logits:
        """Run one batch, padded to the batch size of a graph that has only one, or to the least that it takes."""
        fixed = self.input.shape[0]
        least = fixed if isinstance(fixed, int) else self.batch.min
        padded = padded_batch(images, least)
        logits = self._graph.run({self.input.name: padded}, [self._output])[self._output]
        declared = (len(padded), self.classes)
        if logits.shape != declared:  # ONNX Runtime lets a graph give other shapes than it declares
            raise InputError(f"{self.name} gave logits of shape {logits.shape}, declared {declared}; export it again")
        return np.asarray(logits[: len(images)], np.float32)

    def close(self) -> None:
        """Free the session's memory."""
        del self._graph


def _input_of(graph: OnnxGraph) -> Tensor:
    signature = ", ".join(f"{name} {kind} {shape}" for name, (kind, shape) in graph.inputs.items())
    name, (kind, shape) = next(iter(graph.inputs.items()), ("", ("", ())))
    if len(graph.inputs) != 1 or kind not in DTYPES or len(shape) != 4:
        raise InputError(f"{graph.name} takes {signature}; expected one input of 4-D float32 or uint8 images")
    output_kind, output_shape = next(iter(graph.outputs.values()), ("nothing", ()))
    if output_kind != "tensor(float)" or len(output_shape) != 2 or not isinstance(output_shape[1], int):
        raise InputError(f"{graph.name} gives {output_kind} {output_shape}; expected float32 logits (B, classes)")
    try:
        return Tensor(name=name, shape=shape, dtype=DTYPES[kind])
    except pydantic.ValidationError as error:
        raise InputError(f"{graph.name} takes {signature}: {validation_faults(error)[0]}") from error
