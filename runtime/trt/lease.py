"""What one thread at a time runs an engine with: a stream, buffers, and an execution context per batch size.

A CUDA graph records one state of an execution context, which must then stay as it is; hence a context per batch size,
all of them on the same scratch memory, which is safe because they share the stream. Copies are not in the graph: so
only the images that there are are copied, not those that fill up a batch size, and events tell copies from computing.
"""

import collections
import contextlib
import ctypes
import dataclasses
import itertools
import logging
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import DeviceError
from ..session.tensors import RunTimes
from .library import Library, checked

if TYPE_CHECKING:
    import tensorrt

    from .cuda import Cuda, Handle

logger = logging.getLogger(__name__)
Array = npt.NDArray[np.generic]
MOST_SHAPES = 8  # batch sizes whose context and graph are kept; the one unused longest goes
EVENTS = 4
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
    """A stream with everything an inference needs on it; used by one thread at a time, for one run at a time.

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
        self._events: list[Handle] = []  # on the stream: before copying in, before and after computing, at the end
        self._batch = 0  # rows of the run under way; 0: there is none
        self._staging_s = 0.0
        try:
            self._allocate(largest)
        except DeviceError:
            self.close()
            raise

    def _allocate(self, largest: int) -> None:
        self._cuda.use()
        self._stream = self._cuda.create_stream()
        for _ in range(EVENTS):
            self._events.append(self._cuda.create_event())
        self._scratch_bytes = int(self._engine.device_memory_size_v2)
        self._scratch = self._cuda.allocate(self._scratch_bytes)
        for binding in self._bindings:
            size = binding.bytes_of(largest)
            self._device[binding.name] = self._cuda.allocate(size)
            self._pinned[binding.name] = address = self._cuda.allocate_pinned(size)
            raw = memoryview((ctypes.c_byte * size).from_address(address)).cast("B")
            self._host[binding.name] = np.frombuffer(raw, binding.dtype).reshape(largest, *binding.shape)

    def submit(self, feeds: dict[str, Array], batch: int, rows: int) -> None:
        """Begin a run of `feeds`, arrays of `batch` rows, and do not wait for it; `collect` comes before the next.

        Args:
            feeds: Every input by name, which can be changed as soon as this returns.
            batch: How many rows they have.
            rows: How many are run, `batch` or more; what the others hold is left over and answered to nobody.

        Raises:
            DeviceError: TensorRT or CUDA refused; the lease must then be closed.
        """
        assert not self._batch, "a lease was used twice at once"
        self._cuda.use()
        shape = self._shape(rows)
        start = time.perf_counter()
        for name, array in feeds.items():
            self._host[name][:batch] = array
        self._staging_s = time.perf_counter() - start
        if shape.graph is None and shape.runs >= RUNS_BEFORE_CAPTURE and self.why_no_graphs is None:
            self._capture(shape)
        self._batch = batch
        self._enqueue(shape, batch)
        shape.runs += 1

    def collect(self) -> dict[str, Array]:
        """Wait for the run under way, and return every output by name, arrays of as many rows as it was given.

        Raises:
            DeviceError: It failed; the lease must then be closed.
        """
        self._cuda.use()
        self._cuda.synchronize(self._stream)
        batch, self._batch = self._batch, 0
        return {b.name: self._host[b.name][:batch].copy() for b in self._bindings if not b.is_input}

    def times(self) -> RunTimes:
        """Return how long the parts of the run took that was collected last."""
        copy_in_ms, compute_ms, copy_out_ms = (
            self._cuda.elapsed_ms(start, end) for start, end in itertools.pairwise(self._events)
        )
        return RunTimes(
            staging_ms=1e3 * self._staging_s,
            copy_in_ms=copy_in_ms,
            compute_ms=compute_ms,
            copy_out_ms=copy_out_ms,
        )

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

    def _enqueue(self, shape: _Shape, batch: int) -> None:
        """Put copies and inference on the stream; nothing is waited for."""
        stream, (start, copied, computed, end) = self._stream, self._events
        self._cuda.record(start, stream)
        for b in self._bindings:
            if b.is_input:
                self._cuda.copy_to_device(self._device[b.name], self._pinned[b.name], b.bytes_of(batch), stream)
        self._cuda.record(copied, stream)
        if shape.graph is not None:
            self._cuda.launch(shape.graph, stream)
        else:
            self._execute(shape.context)
        self._cuda.record(computed, stream)
        for b in self._bindings:
            if not b.is_input:
                self._cuda.copy_to_host(self._pinned[b.name], self._device[b.name], b.bytes_of(batch), stream)
        self._cuda.record(end, stream)

    def _execute(self, context: "tensorrt.IExecutionContext") -> None:
        checked(context.execute_async_v3(int(self._stream)), "run the engine", self._log)  # type: ignore[arg-type]

    def _capture(self, shape: _Shape) -> None:
        """Record the inference as a CUDA graph; where that cannot be, say so once and go on without."""
        self._cuda.begin_capture(self._stream)
        try:
            self._execute(shape.context)
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
        """Free everything, once a run under way has ended; the lease cannot run afterwards."""
        self._cuda.use()
        if self._batch:
            with contextlib.suppress(DeviceError):  # which is why it is closed
                self._cuda.synchronize(self._stream)
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
        for event in self._events:
            self._cuda.destroy_event(event)
        if self._stream is not None:
            self._cuda.destroy_stream(self._stream)
        self._device, self._pinned, self._events, self._scratch, self._stream = {}, {}, [], None, None
