"""A TensorRT engine on a GPU, without torch. Safe to run from many threads: each run leases a stream of its own.

A plan is executable code, and TensorRT does not see that it was changed: whoever makes an `EngineOnGpu` has verified
the plan's bytes.
"""

import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from ..artifact.manifest import Backend, BatchRange
from ..errors import InputError
from .kernel_cache import Kernels
from .lease import Array, Binding, Lease
from .lease_pool import Flight, LeasePool
from .library import Library, checked, constructed, logger_of

if TYPE_CHECKING:
    import tensorrt

    from .cuda import Cuda

LEASES = 2  # one computes while the other's images are copied; each holds the engine's scratch memory once


class EngineOnGpu:
    """A deserialised engine.

    Args:
        plan: The plan, verified.
        library: The TensorRT that built it.
        cuda: The device to run on.
        name: What errors call it.
        allow_host_code: Let the plan bring host code, which version-compatible plans need. It runs in this process.
        refit_from: The ONNX file's bytes, whose weights a weight-stripped plan takes.
        leases: How many runs may be under way at once; further ones wait.
        kernel_cache: Where kernels are kept that TensorRT-RTX compiles when it runs; None: nowhere.

    Raises:
        DeviceError: TensorRT cannot load the plan.
        InputError: Not an engine of one profile whose tensors all have the batch first.
    """

    def __init__(
        self,
        plan: bytes,
        library: Library,
        cuda: "Cuda",
        *,
        name: str,
        allow_host_code: bool = False,
        refit_from: bytes | None = None,
        leases: int = LEASES,
        kernel_cache: pathlib.Path | None = None,
    ) -> None:
        self.name, self.library, self.cuda = name, library, cuda
        self._log = logger_of(library)
        cuda.use()
        # The runtime outlives its engine.
        self._runtime: tensorrt.Runtime = constructed(library.trt.Runtime, "create a runtime", self._log, self._log)
        self._runtime.engine_host_code_allowed = allow_host_code
        self._engine: tensorrt.ICudaEngine = checked(
            self._runtime.deserialize_cuda_engine(plan), f"load {name} ({len(plan)} bytes)", self._log
        )
        if refit_from is not None:
            _refit(self._engine, refit_from, library, self._log)
        self.bindings = _bindings_of(self._engine, library, name)
        self.batch = _profile_of(self._engine, self.bindings)
        self._sizes = self.batch.steps
        is_rtx = library.backend is Backend.TENSORRT_RTX
        self._kernels = Kernels(self._engine, library, self._log, kernel_cache) if is_rtx else None
        self.leases = LeasePool(self._new_lease, leases, name)

    def _new_lease(self) -> Lease:
        config = None if self._kernels is None else self._kernels.config
        return Lease(self.library, self._engine, self.cuda, self.bindings, self.batch.max, self._log, config)

    def run(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """Return every output by name, arrays of as many rows as the inputs have.

        Args:
            feeds: Every input by name; the number of rows lies within `batch`.

        Raises:
            DeviceError: TensorRT or CUDA failed.
        """
        return self.submit(feeds).outputs()

    def submit(self, feeds: dict[str, Array]) -> Flight:
        """Begin a run, and wait for none but the oldest under way, and for that only where all leases are lent.

        Args:
            feeds: Every input by name, which can be changed as soon as this returns; as many rows as `batch` says.

        Raises:
            DeviceError: The engine is closed. What fails otherwise, `Flight.outputs` raises.
        """
        batch = len(next(iter(feeds.values())))
        rows = self._rows_for(batch)
        return self.leases.begin(feeds, batch, rows, lambda: self._has_run(rows))

    def _rows_for(self, batch: int) -> int:
        """Return how many rows a batch is run as: each size has a context and a graph, and in TensorRT-RTX kernels."""
        return next(size for size in self._sizes if size >= batch)

    def _has_run(self, rows: int) -> None:
        if self._kernels is not None:
            self._kernels.has_run(rows)
            self._keep_kernels(self._kernels)

    def _keep_kernels(self, kernels: Kernels) -> None:
        """Write what was compiled, once nothing runs: a server is rather killed than closed."""
        if not kernels.is_changed:
            return
        contents: list[bytes | None] = []
        with kernels.writing:
            if kernels.is_changed and self.leases.when_idle(lambda: contents.append(kernels.content())):
                kernels.write(contents[0])

    @property
    def why_no_graphs(self) -> str | None:
        """Why CUDA graphs are not used, where they are not."""
        return self.leases.why_no_graphs

    def inspect(self) -> str:
        """Return the engine inspector's JSON: every layer with its tensors and their types, at the batch it is best at.

        Without a context that knows the batch TensorRT tells no types where that is open: "N/A due to dynamic shapes".
        """
        trt = self.library.trt
        inspector: tensorrt.EngineInspector = checked(
            self._engine.create_engine_inspector(), "create an engine inspector", self._log
        )
        json = trt.LayerInformationFormat.JSON
        with self.leases.lease() as lease:
            inspector.execution_context = lease.context(self.batch.opt)
            return str(checked(inspector.get_engine_information(json), "inspect the engine", self._log))

    def close(self) -> None:
        """Free the engine once the runs under way have ended, whose outputs are kept; it cannot run afterwards."""
        self.leases.land_all()
        if self._kernels is not None:
            self.cuda.use()
            self._keep_kernels(self._kernels)
        self.leases.close()
        self._kernels = None  # with the contexts' configuration, which the engine outlives
        self._engine = self._runtime = None


def _refit(engine: "tensorrt.ICudaEngine", onnx: bytes, library: Library, log: Any) -> None:
    """Give a weight-stripped engine the weights of the ONNX file that it was built from."""
    trt = library.trt
    refitter: tensorrt.Refitter = constructed(trt.Refitter, "create a refitter", log, engine, log)
    parser: tensorrt.OnnxParserRefitter = constructed(
        trt.OnnxParserRefitter, "create a refitting parser", log, refitter, log
    )
    checked(parser.refit_from_bytes(onnx), "read the weights of the ONNX file", log)
    checked(refitter.refit_cuda_engine(), "put the weights into the engine", log)


def _bindings_of(engine: "tensorrt.ICudaEngine", library: Library, name: str) -> tuple[Binding, ...]:
    trt = library.trt
    dtypes: dict[Any, np.dtype[np.generic]] = {
        trt.DataType.FLOAT: np.dtype(np.float32),
        trt.DataType.HALF: np.dtype(np.float16),
        trt.DataType.UINT8: np.dtype(np.uint8),
    }
    bindings = []
    for index in range(engine.num_io_tensors):
        tensor = engine.get_tensor_name(index)
        shape, dtype = tuple(engine.get_tensor_shape(tensor)), engine.get_tensor_dtype(tensor)
        if dtype not in dtypes or len(shape) < 2 or any(size < 1 for size in shape[1:]):
            raise InputError(
                f"{name}: tensor {tensor} is {dtype} {shape}; expected float or uint8 with the batch first"
            )
        is_input = engine.get_tensor_mode(tensor) == trt.TensorIOMode.INPUT
        bindings.append(Binding(tensor, is_input, shape[1:], dtypes[dtype]))
    if engine.num_optimization_profiles != 1 or not any(binding.is_input for binding in bindings):
        raise InputError(f"{name} has {engine.num_optimization_profiles} profiles; expected one, and an input")
    return tuple(bindings)


def _profile_of(engine: "tensorrt.ICudaEngine", bindings: tuple[Binding, ...]) -> BatchRange:
    """Return the batch sizes of profile 0; all inputs share them."""
    image = next(binding for binding in bindings if binding.is_input)
    least, opt, most = (shape[0] for shape in engine.get_tensor_profile_shape(image.name, 0))
    return BatchRange(min=least, opt=opt, max=most)
