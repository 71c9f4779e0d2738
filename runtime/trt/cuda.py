"""The CUDA runtime as a session needs it: memory, a stream, events, graphs. The only file that loads cuda-python.

Addresses, streams, events and graphs are plain integers or the library's own handles; whoever gets one frees it.
"""

from typing import Any

from ..errors import DeviceError, MissingError, needed_for
from .driver import DRIVERS

with needed_for("running an engine"):
    from cuda.bindings import runtime as cudart

Handle = Any  # cudaStream_t, cudaEvent_t or cudaGraphExec_t


class Cuda:
    """One device. `use` it once in every thread before anything else.

    Raises:
        MissingError: No driver, no GPU, or not this one.
    """

    def __init__(self, device: int = 0) -> None:
        count = _first(cudart.cudaGetDeviceCount(), "find a GPU", MissingError)
        if not 0 <= device < count:
            raise MissingError(f"there is no GPU {device} here, only {count}")
        self.device = device
        self.use()
        major = self._attribute(cudart.cudaDeviceAttr.cudaDevAttrComputeCapabilityMajor)
        minor = self._attribute(cudart.cudaDeviceAttr.cudaDevAttrComputeCapabilityMinor)
        self.compute_capability = f"{major}.{minor}"
        properties = _first(cudart.cudaGetDeviceProperties(device), "ask the GPU")
        self.gpu = str(properties.name.split(b"\0")[0].decode(errors="replace"))
        newest = int(_first(cudart.cudaDriverGetVersion(), "ask the driver"))
        self.driver = f"{newest // 1000}.{newest % 1000 // 10}"  # the newest CUDA that it takes

    def _attribute(self, attribute: Any) -> int:
        return int(_first(cudart.cudaDeviceGetAttribute(attribute, self.device), "ask the GPU"))

    def use(self) -> None:
        """Make this device the calling thread's."""
        _none(cudart.cudaSetDevice(self.device), f"use GPU {self.device}")

    def allocate(self, count: int) -> int:
        """Return the address of `count` bytes on the device."""
        return int(_first(cudart.cudaMalloc(max(count, 1)), f"allocate {count / 1e6:.1f} MB on the GPU"))

    def free(self, address: int) -> None:
        _none(cudart.cudaFree(address), "free device memory")

    def allocate_pinned(self, count: int) -> int:
        """Return the address of `count` bytes of page-locked host memory."""
        got = cudart.cudaHostAlloc(max(count, 1), cudart.cudaHostAllocDefault)
        return int(_first(got, f"pin {count / 1e6:.1f} MB of host memory"))

    def free_pinned(self, address: int) -> None:
        _none(cudart.cudaFreeHost(address), "free pinned memory")

    def create_stream(self) -> Handle:
        got = cudart.cudaStreamCreateWithFlags(cudart.cudaStreamNonBlocking)
        return _first(got, "create a stream")

    def destroy_stream(self, stream: Handle) -> None:
        _none(cudart.cudaStreamDestroy(stream), "destroy a stream")

    def create_event(self) -> Handle:
        return _first(cudart.cudaEventCreate(), "create an event")

    def destroy_event(self, event: Handle) -> None:
        _none(cudart.cudaEventDestroy(event), "destroy an event")

    def record(self, event: Handle, stream: Handle) -> None:
        """Note in `event` when everything on `stream` up to here is done."""
        _none(cudart.cudaEventRecord(event, stream), "record an event")

    def elapsed_ms(self, start: Handle, end: Handle) -> float:
        """Return the milliseconds between two events, which have both happened."""
        return float(_first(cudart.cudaEventElapsedTime(start, end), "tell the time between two events"))

    def copy_to_device(self, device: int, host: int, count: int, stream: Handle) -> None:
        kind = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        _none(cudart.cudaMemcpyAsync(device, host, count, kind, stream), "copy to the GPU")

    def copy_to_host(self, host: int, device: int, count: int, stream: Handle) -> None:
        kind = cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        _none(cudart.cudaMemcpyAsync(host, device, count, kind, stream), "copy from the GPU")

    def synchronize(self, stream: Handle) -> None:
        """Wait for everything on `stream`; what failed there is raised here."""
        _none(cudart.cudaStreamSynchronize(stream), "finish the work on a stream")

    def begin_capture(self, stream: Handle) -> None:
        """Record what is put on `stream` instead of running it. Other threads' work does not disturb this."""
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        _none(cudart.cudaStreamBeginCapture(stream, mode), "record a graph")

    def end_capture(self, stream: Handle) -> Handle:
        """Return what was recorded, ready to be launched."""
        graph = _first(cudart.cudaStreamEndCapture(stream), "record a graph")
        try:
            return _first(cudart.cudaGraphInstantiate(graph, 0), "make a graph ready")
        finally:
            _none(cudart.cudaGraphDestroy(graph), "destroy a graph")

    def abandon_capture(self, stream: Handle) -> None:
        """Leave recording after a call within it failed; what was recorded is dropped."""
        error, graph = cudart.cudaStreamEndCapture(stream)
        if error == cudart.cudaError_t.cudaSuccess and graph is not None:
            _none(cudart.cudaGraphDestroy(graph), "destroy a graph")
        cudart.cudaGetLastError()  # a failed capture leaves its error behind

    def launch(self, graph: Handle, stream: Handle) -> None:
        _none(cudart.cudaGraphLaunch(graph, stream), "launch a graph")

    def destroy_graph(self, graph: Handle) -> None:
        _none(cudart.cudaGraphExecDestroy(graph), "destroy a graph")


def _first(result: tuple[Any, ...], what: str, kind: type[RuntimeError] = DeviceError) -> Any:
    """Return the one value of a CUDA call, or raise what it says."""
    _none(result[:1], what, kind)
    return result[1]


def _none(result: tuple[Any, ...], what: str, kind: type[RuntimeError] = DeviceError) -> None:
    error = result[0]
    if error != cudart.cudaError_t.cudaSuccess:
        _, text = cudart.cudaGetErrorString(error)
        reason = text.decode() if isinstance(text, bytes) else str(text)
        if error == cudart.cudaError_t.cudaErrorInsufficientDriver:
            kind, reason = MissingError, f"{reason}; update NVIDIA's driver: CUDA 13 wants {DRIVERS[13]} or newer"
        raise kind(f"CUDA could not {what}: {reason} ({error.name})")
