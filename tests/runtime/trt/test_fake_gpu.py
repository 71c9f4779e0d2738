"""The GPU and the TensorRT that the tests run on have no name, parameter or property that the real ones lack."""

import enum
import inspect

import pytest

from benchmarks.gpu_check import stand_in
from benchmarks.gpu_check.fakes import FakeGpu
from deepvit.runtime.artifact.manifest import Backend
from deepvit.runtime.trt.cuda import Cuda
from tests.doubles import fake_gpu
from tests.doubles.fake_gpu import PLAN, FakeCuda, fake_library
from tests.rig.api_use import parameters_of
from tests.rig.rig import list_apis

REAL = {  # of classes that nobody constructs
    "Engine": "ICudaEngine",
    "Context": "IExecutionContext",
    "RuntimeConfig": "IRuntimeConfig",
    "RuntimeCache": "IRuntimeCache",
}
OF_RTX = ("IRuntimeCache", "DynamicShapesKernelSpecializationStrategy")  # classes that TensorRT-RTX alone has
ONLY_RTX_HAS = tuple(  # its configuration alone, which TensorRT's engines are not given
    f"IRuntimeConfig.{name} does not exist"
    for name in ("dynamic_shapes_kernel_specialization_strategy", "create_runtime_cache", "set_runtime_cache")
)
OWN = {  # what a fake has for the tests
    "ICudaEngine": {"profile", "side", "classes", "seed", "weights", "contexts", "refitted"},
    "IExecutionContext": {
        "engine",
        "shape",
        "addresses",
        "scratch",
        "is_frozen",
        "is_busy",
        "cache",
        "specialization",
        "compiled",
    },
    "IRuntimeConfig": {"engine", "cache", "strategy"},
    "IRuntimeCache": {"engine", "batches", "running", "refuses", "HEAD"},
    "Runtime": {"latest", "engine_options"},
    "Refitter": {"engine"},
    "ILogger": {"first", "say"},
}
OWN_OF_CUDA = {"put", "fails_capture", "memory", "live", "pinned", "streams", "graphs", "capturing", "launched",
               "enqueued", "current", "events", "clock"}  # fmt: skip


@pytest.fixture(scope="module")
def apis(tmp_path_factory):
    return list_apis(tmp_path_factory.mktemp("apis"))


@pytest.fixture(autouse=True)
def _first_logger(monkeypatch):
    """Whatever runtime is made here, its logger is not the first of the tests that follow: it is freed."""
    monkeypatch.setattr(fake_gpu.ILogger, "first", None)


def fakes():
    """The fake's classes by the names of the real ones, and of those that are instantiated an instance."""
    module = vars(fake_library(Backend.TENSORRT_RTX).trt)
    engine = fake_gpu.Engine(PLAN)
    logger = fake_gpu.ILogger()
    instances = {
        "ICudaEngine": engine,
        "IExecutionContext": fake_gpu.Context(engine),
        "EngineInspector": fake_gpu.EngineInspector(),
        "IRuntimeConfig": fake_gpu.RuntimeConfig(engine),
        "IRuntimeCache": fake_gpu.RuntimeCache(engine),
        "Runtime": module["Runtime"](logger),
        "Refitter": module["Refitter"](engine, logger),
    }
    classes = {name: kind for name, kind in module.items() if inspect.isclass(kind)}
    return classes | {name: type(each) for name, each in instances.items()}, instances


def faults_of_fake(name, kind, instance, api):
    """Return what a fake class has and the real one has not, or otherwise."""
    real = api["classes"].get(name)
    if real is None:
        return [f"{name} does not exist in {api['version']}"]
    faults = []
    for member in sorted(_members(kind, instance) - OWN.get(name, set())):
        value = inspect.getattr_static(kind, member, None)
        if member not in real:
            faults.append(f"{name}.{member} does not exist in {api['version']}")
        elif inspect.isfunction(value) != bool(real[member]):
            faults.append(f"{name}.{member} is {'no' if inspect.isfunction(value) else 'a'} method in {api['version']}")
        elif inspect.isfunction(value) and not any(_fits(value, signature) for signature in real[member]):
            faults.append(f"{name}.{member}{inspect.signature(value)} is {real[member]} in {api['version']}")
    return faults


def _members(kind, instance):
    """Every public name, and the constructor where it is called by its name."""
    if issubclass(kind, enum.Enum):
        return set(kind.__members__)
    named = {name for each in kind.__mro__[:-1] for name in vars(each)} | set(vars(instance) if instance else ())
    is_constructed = kind.__name__ not in REAL and any("__init__" in vars(each) for each in kind.__mro__[:-1])
    return {name for name in named if not name.startswith("_")} | ({"__init__"} if is_constructed else set())


def _fits(function, signature):
    """Whether every call that the fake takes is one of the real one's, and what it leaves out has a default there."""
    ours = [name for name in inspect.signature(function).parameters if name != "self"]
    theirs = parameters_of(signature)
    return ours == list(theirs)[: len(ours)] and not any(list(theirs.values())[len(ours) :])


@pytest.mark.parametrize("version", ["10.12", "11.4", "rtx"])
def test_the_fake_tensorrt_is_no_wider_than_the_real_one(apis, version):
    classes, instances = fakes()
    assert len(classes) >= 13
    if version != "rtx":
        classes = {name: kind for name, kind in classes.items() if name not in OF_RTX}
    faults = [
        fault
        for name, kind in classes.items()
        for fault in faults_of_fake(name, kind, instances.get(name), apis[version])
    ]
    if version != "rtx":
        faults = [fault for fault in faults if not fault.startswith(ONLY_RTX_HAS)]
    assert faults == []


@pytest.mark.parametrize("version", ["10.12", "11.4", "rtx"])
def test_nor_is_the_stand_in_of_a_check_of_a_gpu(apis, version):
    """It is the fake with another kernel, and with what tells that which one."""
    engine = stand_in._Engine(PLAN, FakeGpu(), None, 0, 8)
    faults = [
        *faults_of_fake("ICudaEngine", stand_in._Engine, engine, apis[version]),
        *faults_of_fake("IExecutionContext", stand_in._Context, stand_in._Context(engine), apis[version]),
    ]
    if version != "rtx":
        faults = [fault for fault in faults if not fault.startswith(ONLY_RTX_HAS)]
    strange = {fault.partition(" ")[0].partition(".")[2] for fault in faults}
    assert strange <= {"__init__", "place", "fault", "nanoseconds", "calls"}, faults


class Planted:
    def __init__(self, plan):
        self.num_io_tensor = 2  # misspelt
        self.get_tensor_name = 0  # a method in truth

    def get_tensor_shape(self, tensor):  # `name` in truth
        pass

    def get_tensor_profile_shape(self, name):  # and `profile_index`
        pass

    def get_tensor_mode(self, name, index):  # one too many
        pass

    def num_optimization_profiles(self):  # a property in truth
        pass

    def create_execution_context(self, strategy):  # as it is
        pass


class PlantedEnum(enum.Enum):
    FLOAT, FLOAT32 = range(2)


def test_what_the_real_one_lacks_is_seen(apis):
    """Negative control."""
    Planted.__name__ = "Engine"
    found = faults_of_fake("ICudaEngine", Planted, Planted(b""), apis["11.4"])
    assert [fault.partition(" ")[0].partition("(")[0].removeprefix("ICudaEngine.") for fault in found] == [
        "get_tensor_mode",
        "get_tensor_name",
        "get_tensor_profile_shape",
        "get_tensor_shape",
        "num_io_tensor",
        "num_optimization_profiles",
    ]
    assert faults_of_fake("DataType", PlantedEnum, None, apis["11.4"]) == [
        f"DataType.FLOAT32 does not exist in {apis['11.4']['version']}"
    ]
    assert faults_of_fake("Nothing", PlantedEnum, None, apis["11.4"]) != []


def _methods(kind):
    return {name: inspect.signature(value) for name, value in vars(kind).items() if inspect.isfunction(value)}


def test_the_fake_cuda_is_our_wrapper_of_the_real_one():
    real, fake = _methods(Cuda), _methods(FakeCuda)
    assert {name for name in real if not name.startswith("_")} == {
        n for n in fake if not n.startswith("_")
    } - OWN_OF_CUDA
    for name in set(real) & set(fake) - {"__init__"}:
        assert list(real[name].parameters) == list(fake[name].parameters), name
    held = {name for name in vars(FakeCuda()) if not name.startswith("_")} - OWN_OF_CUDA
    assert held == {"device", "compute_capability", "gpu", "driver"}
