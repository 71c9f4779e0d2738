"""What one thread at a time runs an engine with: a stream, buffers, and an execution context per batch size.

A CUDA graph records one state of an execution context, which must then stay as it is; hence a context per batch size,
all of them on the same scratch memory, which is safe because they share the stream.
"""

import collections
import ctypes
import dataclasses
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import DeviceError
from .library import Library, checked

if TYPE_CHECKING:
    import tensorrt

    from .cuda import Cuda, Handle

logger = logging.getLogger(__name__)
Array = npt.NDArray[np.generic]
MOST_SHAPES = 8  # batch sizes whose context and graph are kept; the one unused longest goes
RUNS_BEFORE_CAPTURE = 1  # a plain run first: lazy initialisation cannot be recorded


@dataclasses.dataclass(frozen=True)
class Binding:
    """One input or output of an engine: `shape` without the batch, which is dimension 0."""

    name: str
    is_input: bool
    shape: tuple[int, ...]
    dtype: "np.dtype[np.generic]"

    def bytes_of(self, batch: int) -> int:
        return batch * int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclasses.dataclass
class _Shape:
    """An execution context set to one batch size, and its graph once it was recorded."""

    context: "tensorrt.IExecutionContext"
    runs: int = 0
    graph: Any = None


class Lease:
    """A stream with everything an inference needs on it; used by one thread at a time.

    Args:
        library: The loaded TensorRT.
        engine: The deserialised engine.
        cuda: The device.
        bindings: Inputs and outputs.
        largest: The largest batch, by which the buffers are sized.
        log: TensorRT's log.
        config: How TensorRT-RTX makes contexts; None for TensorRT.
    """

    def __init__(
        self,
        library: Library,
        engine: "tensorrt.ICudaEngine",
        cuda: "Cuda",
        bindings: tuple[Binding, ...],
        largest: int,
        log: Any,
        config: "tensorrt.IRuntimeConfig | None" = None,
    ) -> None:
        self._library, self._engine, self._cuda, self._log = library, engine, cuda, log
        self._bindings, self._config = bindings, config
        self._shapes: collections.OrderedDict[int, _Shape] = collections.OrderedDict()
        self.why_no_graphs: str | None = None
        self._device: dict[str, int] = {}
        self._pinned: dict[str, int] = {}
        self._host: dict[str, Array] = {}
        self._scratch: int | None = None
        self._stream: Handle | None = None
        try:
            self._allocate(largest)
        except DeviceError:
            self.close()
            raise

    def _allocate(self, largest: int) -> None:
        self._cuda.use()
        self._stream = self._cuda.create_stream()
        self._scratch_bytes = int(self._engine.device_memory_size_v2)
        self._scratch = self._cuda.allocate(self._scratch_bytes)
        for binding in self._bindings:
            size = binding.bytes_of(largest)
            self._device[binding.name] = self._cuda.allocate(size)
            self._pinned[binding.name] = address = self._cuda.allocate_pinned(size)
            raw = memoryview((ctypes.c_byte * size).from_address(address)).cast("B")
            self._host[binding.name] = np.frombuffer(raw, binding.dtype).reshape(largest, *binding.shape)

    def run(self, feeds: dict[str, Array], batch: int, rows: int) -> dict[str, Array]:
        """Return every output for `feeds`, arrays of `batch` rows.

        Args:
            feeds: Every input by name.
            batch: How many rows they have.
            rows: How many are run, `batch` or more; what the others hold is left over and answered to nobody.

        Raises:
            DeviceError: TensorRT or CUDA refused; the lease must then be closed.
        """
        self._cuda.use()
        shape = self._shape(rows)
        for name, array in feeds.items():
            self._host[name][:batch] = array
        if shape.graph is None and shape.runs >= RUNS_BEFORE_CAPTURE and self.why_no_graphs is None:
            self._capture(shape, rows)
        if shape.graph is not None:
            self._cuda.launch(shape.graph, self._stream)
        else:
            self._enqueue(shape.context, rows)
        shape.runs += 1
        self._cuda.synchronize(self._stream)
        return {b.name: self._host[b.name][:batch].copy() for b in self._bindings if not b.is_input}

    def context(self, batch: int) -> "tensorrt.IExecutionContext":
        """Return the context that runs this batch size, for who asks about it."""
        return self._shape(batch).context

    def _shape(self, batch: int) -> _Shape:
        """Return the context of this batch size, made when there is none."""
        if batch in self._shapes:
            self._shapes.move_to_end(batch)
            return self._shapes[batch]
        while len(self._shapes) >= MOST_SHAPES:
            self._drop(self._shapes.popitem(last=False)[1])
        trt = self._library.trt
        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context: tensorrt.IExecutionContext = checked(
            self._engine.create_execution_context(strategy if self._config is None else self._config),
            "create an execution context",
            self._log,
        )
        context.set_device_memory(self._scratch, self._scratch_bytes)
        for binding in self._bindings:
            if binding.is_input:
                size = (batch, *binding.shape)
                checked(context.set_input_shape(binding.name, size), f"run {binding.name} as {size}", self._log)
            address = self._device[binding.name]
            checked(context.set_tensor_address(binding.name, address), f"bind {binding.name}", self._log)
        self._shapes[batch] = _Shape(context)
        return self._shapes[batch]

    def _enqueue(self, context: "tensorrt.IExecutionContext", batch: int) -> None:
        """Put copies and inference on the stream; nothing is waited for."""
        for b in self._bindings:
            if b.is_input:
                self._cuda.copy_to_device(self._device[b.name], self._pinned[b.name], b.bytes_of(batch), self._stream)
        checked(context.execute_async_v3(int(self._stream)), "run the engine", self._log)  # type: ignore[arg-type]
        for b in self._bindings:
            if not b.is_input:
                self._cuda.copy_to_host(self._pinned[b.name], self._device[b.name], b.bytes_of(batch), self._stream)

    def _capture(self, shape: _Shape, batch: int) -> None:
        """Record the run as a CUDA graph; where that cannot be, say so once and go on without."""
        self._cuda.begin_capture(self._stream)
        try:
            self._enqueue(shape.context, batch)
        except DeviceError as error:
            self._cuda.abandon_capture(self._stream)
            self._without_graphs(error)
            return
        try:
            shape.graph = self._cuda.end_capture(self._stream)
        except DeviceError as error:
            self._without_graphs(error)

    def _without_graphs(self, error: DeviceError) -> None:
        self.why_no_graphs = str(error)
        logger.warning("running without CUDA graphs, which is slower for small batches: %s", error)

    def _drop(self, shape: _Shape) -> None:
        if shape.graph is not None:
            self._cuda.destroy_graph(shape.graph)

    def close(self) -> None:
        """Free everything; the lease cannot run afterwards."""
        self._cuda.use()
        for shape in self._shapes.values():
            self._drop(shape)
        self._shapes.clear()
        self._host.clear()
        for address in self._device.values():
            self._cuda.free(address)
        for address in self._pinned.values():
            self._cuda.free_pinned(address)
        if self._scratch is not None:
            self._cuda.free(self._scratch)
        if self._stream is not None:
            self._cuda.destroy_stream(self._stream)
        self._device, self._pinned, self._scratch, self._stream = {}, {}, None, None
