"""A GPU and a TensorRT that exist in memory only, as strict as the real ones about order, lifetime and threads.

Work put on a stream runs when the stream is synchronised, so that reading too early shows. Its names and parameters are
held against the real bindings by tests/runtime/trt/test_fake_gpu.py.
"""

import ctypes
import enum
import hashlib
import itertools
import json
import threading
import time
import weakref
from types import SimpleNamespace

import numpy as np

from deepvit.runtime.artifact.manifest import Backend
from deepvit.runtime.errors import DeviceError
from deepvit.runtime.trt.library import Library
from deepvit.runtime.trt.machine import Machine

PLAN = b"FAKE PLAN "
SECRET = 7  # seeds the fake engine's weights
HERE = Machine(  # the machine that has this GPU
    gpu="NVIDIA Test", compute_capability="8.9", driver="580.82.07", memory="24564 MiB",
    versions={Backend.TENSORRT: "11.4.0.106"},
)  # fmt: skip


class Stream(int):
    """A handle, as an integer."""


class Clock:
    """The time of a GPU with an engine for copying in, one for computing and one for copying out.

    Each does one operation after another, in the order in which they were put on streams; what is on one stream is done
    in its order. The host's own work takes no time; waiting does.

    Args:
        copy_in, compute, copy_out: Seconds of one operation.
    """

    def __init__(self, copy_in=0.0, compute=0.0, copy_out=0.0):
        self.cost = {"copy_in": copy_in, "compute": compute, "copy_out": copy_out}
        self.free = dict.fromkeys(self.cost, 0.0)  # when each engine has done what it was given
        self.streams = {}  # and each stream
        self.now = 0.0  # the host's

    def put(self, stream, engine):
        start = max(self.now, self.at(stream), self.free[engine])
        self.streams[stream] = self.free[engine] = start + self.cost[engine]

    def at(self, stream):
        """When everything that is on `stream` will be done."""
        return max(self.now, self.streams.get(stream, 0.0))

    def wait(self, stream):
        self.now = self.at(stream)


class FakeCuda:
    """See `runtime.cuda.Cuda`."""

    def __init__(self, device=0, *, fails_capture=False, memory=1 << 30, clock=None):
        self.device, self.compute_capability = device, "8.9"
        self.gpu, self.driver = "NVIDIA Test", "13.0"
        self.fails_capture, self.memory = fails_capture, memory
        self.live, self.pinned, self.streams, self.graphs, self.events = {}, {}, {}, {}, {}
        self.clock = clock or Clock()
        self.capturing = {}
        self.launched = self.enqueued = 0
        self._handles = itertools.count(1)
        self._thread = threading.local()
        self._lock = threading.Lock()
        FakeCuda.current = self

    def use(self):
        self._thread.is_set = True

    def _check(self):
        assert getattr(self._thread, "is_set", False), "cudaSetDevice was not called in this thread"

    def _allocate(self, where, count):
        self._check()
        with self._lock:
            if sum(len(b) for b in (*self.live.values(), *self.pinned.values())) + count > self.memory:
                raise DeviceError("CUDA could not allocate: out of memory (cudaErrorMemoryAllocation)")
            buffer = (ctypes.c_byte * max(count, 1))()
            where[ctypes.addressof(buffer)] = buffer
            return ctypes.addressof(buffer)

    def allocate(self, count):
        return self._allocate(self.live, count)

    def allocate_pinned(self, count):
        return self._allocate(self.pinned, count)

    def free(self, address):
        with self._lock:
            del self.live[address]  # a KeyError is a double free

    def free_pinned(self, address):
        with self._lock:
            del self.pinned[address]

    def create_stream(self):
        with self._lock:
            stream = Stream(next(self._handles))
            self.streams[stream] = []
            return stream

    def destroy_stream(self, stream):
        with self._lock:
            assert not self.streams.pop(stream), "a stream was destroyed with work on it"

    def put(self, stream, operation, engine="compute"):
        self._check()
        if stream in self.capturing:
            self.capturing[stream].append((operation, engine))
            return
        with self._lock:
            self.enqueued += 1
            self.streams[stream].append(operation)
            if engine is not None:
                self.clock.put(stream, engine)

    def _check_addresses(self, device, host):
        assert device in self.live, "not a device address"
        assert host in self.pinned, "not a pinned address"

    def copy_to_device(self, device, host, count, stream):
        self._check_addresses(device, host)
        self.put(stream, lambda: ctypes.memmove(device, host, count), "copy_in")

    def copy_to_host(self, host, device, count, stream):
        self._check_addresses(device, host)
        self.put(stream, lambda: ctypes.memmove(host, device, count), "copy_out")

    def create_event(self):
        with self._lock:
            event = next(self._handles)
            self.events[event] = None
            return event

    def destroy_event(self, event):
        with self._lock:
            del self.events[event]

    def record(self, event, stream):
        when = self.clock.at(stream)
        self.put(stream, lambda: self.events.update({event: when}), None)

    def elapsed_ms(self, start, end):
        self._check()
        assert None not in (self.events[start], self.events[end]), "an event was asked for that has not happened"
        return 1e3 * (self.events[end] - self.events[start])

    def synchronize(self, stream):
        self._check()
        assert stream not in self.capturing, "a stream that records cannot be waited for"
        work, self.streams[stream] = self.streams[stream], []
        for operation in work:
            operation()
        self.clock.wait(stream)

    def begin_capture(self, stream):
        assert not self.streams[stream], "work before the capture was not waited for"
        self.capturing[stream] = []

    def end_capture(self, stream):
        operations = self.capturing.pop(stream)
        if self.fails_capture:
            raise DeviceError("CUDA could not record a graph (cudaErrorStreamCaptureUnsupported)")
        with self._lock:
            graph = next(self._handles)
            self.graphs[graph] = operations
            return graph

    def abandon_capture(self, stream):
        self.capturing.pop(stream)

    def launch(self, graph, stream):
        self.launched += 1
        for operation, engine in self.graphs[graph]:
            self.put(stream, operation, engine)

    def destroy_graph(self, graph):
        with self._lock:
            del self.graphs[graph]


class DataType(enum.Enum):
    FLOAT, HALF, UINT8, INT32 = range(4)


class TensorIOMode(enum.Enum):
    INPUT, OUTPUT = range(2)


class Engine:
    """logits = images · W, with W from the plan's hash: (B, 3, side, side) → (B, classes)."""

    def __init__(self, plan, profile=(1, 4, 8), side=32, classes=5):
        self.profile, self.side, self.classes = profile, side, classes
        self.seed = int.from_bytes(hashlib.sha256(plan).digest()[:4], "big")
        self.num_io_tensors, self.num_optimization_profiles, self.device_memory_size_v2 = 2, 1, 4096
        self.contexts, self.refitted = 0, False

    def weights(self):
        return np.random.default_rng(self.seed).normal(size=(3 * self.side**2, self.classes)).astype(np.float32)

    def get_tensor_name(self, index):
        return ("images", "logits")[index]

    def get_tensor_shape(self, name):
        return (-1, 3, self.side, self.side) if name == "images" else (-1, self.classes)

    def get_tensor_dtype(self, name):
        return DataType.FLOAT

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name == "images" else TensorIOMode.OUTPUT

    def get_tensor_profile_shape(self, name, profile_index):
        assert profile_index == 0
        return [(size, 3, self.side, self.side) for size in self.profile]

    def create_execution_context(self, strategy):
        config = strategy if isinstance(strategy, RuntimeConfig) else None
        if config is not None:
            strategy = config.get_execution_context_allocation_strategy()
        assert strategy is ExecutionContextAllocationStrategy.USER_MANAGED
        self.contexts += 1
        return Context(self, config)

    def create_runtime_config(self):
        return RuntimeConfig(self)

    def create_engine_inspector(self):
        return EngineInspector()


class ExecutionContextAllocationStrategy(enum.Enum):
    STATIC, USER_MANAGED = range(2)


class DynamicShapesKernelSpecializationStrategy(enum.Enum):
    LAZY, EAGER, NONE = range(3)


class RuntimeConfig:
    """See IRuntimeConfig of TensorRT-RTX: read when a context is made."""

    def __init__(self, engine):
        self.engine, self.cache, self.strategy = engine, None, ExecutionContextAllocationStrategy.STATIC
        self.dynamic_shapes_kernel_specialization_strategy = DynamicShapesKernelSpecializationStrategy.LAZY

    def set_execution_context_allocation_strategy(self, strategy):
        self.strategy = strategy

    def get_execution_context_allocation_strategy(self):
        return self.strategy

    def create_runtime_cache(self):
        return RuntimeCache(self.engine)

    def set_runtime_cache(self, cache):
        self.cache = cache
        return True


class RuntimeCache:
    """See IRuntimeCache: the batch sizes that kernels were compiled for. Not to be read while one compiles."""

    HEAD = b"kernels of TensorRT-RTX for NVIDIA Test: "
    refuses = False  # to give what is in it

    def __init__(self, engine):
        self.engine, self.batches, self.running = engine, set(), 0

    def serialize(self):
        assert not self.running, "a cache was read during a run"
        return None if self.refuses else self.HEAD + bytes(sorted(self.batches))

    def deserialize(self, blob):
        if not blob.startswith(self.HEAD):
            ILogger.say(ILogger.ERROR, "the cache is of another GPU")
            return False
        self.batches |= set(blob[len(self.HEAD) :])
        return True


class EngineInspector:
    """See IEngineInspector: without a context whose shapes are set it tells no types of an engine with open ones."""

    execution_context = None

    def get_engine_information(self, format):  # noqa: A002 - TensorRT's name
        shape = getattr(self.execution_context, "shape", None)
        told = "N/A due to dynamic shapes" if shape is None else "Row major linear FP16 format"
        tensor = {"Name": "images", "Dimensions": shape or [-1, 3, 32, 32], "Format/Datatype": told}
        layer = {"Name": "embed", "LayerType": "CaskConvolution", "Inputs": [tensor], "Outputs": [tensor]}
        return json.dumps({"Layers": [layer]})


class Context:
    """See IExecutionContext: frozen once a graph recorded it."""

    compiled = 0  # how often kernels were, by all contexts

    def __init__(self, engine, config=None):
        # As it was when the context was made; of TensorRT-RTX alone.
        self.cache = config and config.cache
        self.specialization = config and config.dynamic_shapes_kernel_specialization_strategy
        self.engine, self.shape, self.addresses, self.scratch = engine, None, {}, None
        self.is_frozen = self.is_busy = False

    def set_device_memory(self, memory, size):
        assert size >= self.engine.device_memory_size_v2
        self.scratch = memory

    def set_input_shape(self, name, shape):
        assert not self.is_frozen, "a context was changed that a graph has recorded"
        self.shape = shape
        least, _, most = self.engine.profile
        return least <= shape[0] <= most

    def set_tensor_address(self, name, memory):
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle):
        cuda = FakeCuda.current
        assert self.shape is not None
        assert self.scratch in cuda.live
        is_recorded = stream_handle in cuda.capturing
        self.is_frozen = self.is_frozen or is_recorded
        if self.specialization is not None:
            self._compile(is_recorded)
        cuda.put(Stream(stream_handle), self._compute)
        return True

    def _compile(self, is_recorded):
        is_eager = self.specialization is DynamicShapesKernelSpecializationStrategy.EAGER
        has_kernels = self.cache is not None and self.shape[0] in self.cache.batches
        assert not is_recorded or (is_eager and has_kernels), "a graph recorded the generic kernels"
        if is_eager and not has_kernels and self.cache is not None:
            Context.compiled += 1
            self.cache.batches.add(self.shape[0])

    def _compute(self):
        assert not self.is_busy, "one context ran twice at once"
        self.is_busy = True
        if self.cache is not None:
            self.cache.running += 1
        batch, rest = self.shape[0], int(np.prod(self.shape[1:]))
        images = np.frombuffer((ctypes.c_byte * (batch * rest * 4)).from_address(self.addresses["images"]), np.float32)
        time.sleep(0)  # let other threads in
        logits = images.reshape(batch, rest) @ self.engine.weights()
        ctypes.memmove(self.addresses["logits"], np.ascontiguousarray(logits).ctypes.data, logits.nbytes)
        self.is_busy = False
        if self.cache is not None:
            self.cache.running -= 1


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO = range(4)
    first = None  # a weak reference: TensorRT keeps the first logger's bare address, and writes to it from then on

    @classmethod
    def say(cls, severity, message):
        logger = cls.first()
        assert logger is not None, "TensorRT wrote to a logger that was freed"
        logger.log(severity, message)


class Runtime:
    def __init__(self, logger):
        if ILogger.first is None:
            ILogger.first = weakref.ref(logger)
        self.logger, self.engine_host_code_allowed = logger, False
        Runtime.latest = self

    def deserialize_cuda_engine(self, serialized_engine):
        ILogger.say(ILogger.WARNING, "a plan is loaded")
        if not serialized_engine.startswith(PLAN):
            ILogger.say(ILogger.ERROR, "the plan is not one of this version")
            return None
        return Engine(serialized_engine, **self.engine_options)

    engine_options = {}


class Refitter:
    def __init__(self, engine, logger):
        self.engine = engine

    def refit_cuda_engine(self):
        self.engine.refitted = True
        return True


class OnnxParserRefitter:
    def __init__(self, refitter, logger):
        pass

    def refit_from_bytes(self, model):
        return len(model) > 0


def fake_library(backend=Backend.TENSORRT, **engine_options):
    """The library whose engines have these options."""
    runtime = type("Runtime", (Runtime,), {"engine_options": engine_options})
    module = SimpleNamespace(
        ILogger=ILogger, Runtime=runtime, Refitter=Refitter, OnnxParserRefitter=OnnxParserRefitter, DataType=DataType,
        TensorIOMode=TensorIOMode, ExecutionContextAllocationStrategy=ExecutionContextAllocationStrategy,
        LayerInformationFormat=SimpleNamespace(JSON=1),
    )  # fmt: skip
    if backend is Backend.TENSORRT:
        return Library(backend=backend, trt=module, version="11.4.0.106")
    module.DynamicShapesKernelSpecializationStrategy = DynamicShapesKernelSpecializationStrategy
    return Library(backend=backend, trt=module, version="1.7.1.116")


def fail_at(number, cuda, monkeypatch):
    """Let the wait for a stream fail the `number`th time, its work done."""
    working, waits = cuda.synchronize, itertools.count(1)

    def fail(stream):
        working(stream)
        if next(waits) == number:
            raise DeviceError("CUDA could not do it")

    monkeypatch.setattr(cuda, "synchronize", fail)


def expected_logits(plan, images):
    return images.reshape(len(images), -1) @ Engine(plan).weights()
