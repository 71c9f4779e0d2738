"""Every name of TensorRT's API that our source uses exists in the bindings of 10.12, 11.4 and TensorRT-RTX, so called."""

import ast
from types import SimpleNamespace

import pytest

from deepvit.runtime.errors import DeviceError
from deepvit.runtime.trt.library import checked, constructed
from deepvit.runtime.trt.log import Errors
from tests.places import ROOT
from tests.rig.api_use import ApiUse, faults_of
from tests.rig.rig import list_apis

FILES = sorted(path for folder in ("runtime", "export") for path in (ROOT / folder).rglob("*.py"))
USERS = [path for path in FILES if "import tensorrt" in path.read_text()]
# What TensorRT may answer with null, false or an error instead of doing it.
REFUSES = ("create_", "build_", "deserialize", "refit_", "set_input_shape", "set_tensor_address", "execute_async",
           "set_timing_cache", "get_timing_cache", "set_runtime_cache", "serialize", "parse", "set_compute_capability",
           "add_optimization_profile", "get_engine_information")  # fmt: skip


@pytest.fixture(scope="module")
def apis(tmp_path_factory):
    return list_apis(tmp_path_factory.mktemp("apis"))


def uses_of(path, api, source=None):
    return ApiUse(source or path.read_text(), path.name, api)


def test_what_is_read_from_the_source():
    assert {path.relative_to(ROOT).as_posix() for path in USERS} == {
        "export/engine/building/network.py",
        "runtime/trt/plugin.py",
        "runtime/trt/log.py",
        "runtime/trt/engine.py",
        "runtime/trt/kernel_cache.py",
        "runtime/trt/lease.py",
    }


@pytest.mark.parametrize("path", USERS, ids=lambda path: path.name)
def test_everything_exists_with_that_signature(apis, path):
    found = uses_of(path, apis["rtx"])
    assert found.uses
    faults = [fault for use in found.uses for fault in faults_of(use, apis["rtx"])]
    for version in ("10.12", "11.4"):
        shared = [use for use in uses_of(path, apis[version]).uses if use.module == "tensorrt"]
        faults += [fault for use in shared for fault in faults_of(use, apis[version])]
    assert faults == []
    assert found.unknown == [], "annotate these values with their TensorRT class"


def test_every_misspelt_member_is_seen(apis):
    """Negative control: each member that we use, misspelt in our source, is found."""
    missed, tried = [], 0
    for path in USERS:
        lines = path.read_text().splitlines()
        known = {(use.where, use.member) for use in uses_of(path, apis["11.4"]).uses if use.module == "tensorrt"}
        for where, member in sorted(known):
            number = int(where.partition(":")[2]) - 1
            typo = lines[number].replace(f".{member}", f".{member}_typo", 1)
            changed = [*lines[:number], typo, *lines[number + 1 :]]
            if changed == lines or member in ("trt",):
                continue
            tried += 1
            found = uses_of(path, apis["11.4"], "\n".join(changed))
            if not any(fault for use in found.uses for fault in faults_of(use, apis["11.4"])):
                missed.append(f"{where} {member}")
    assert missed == []
    assert tried > 60


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def f(c: 'tensorrt.IBuilderConfig'):\n    c.set_flag(1, 2)", "IBuilderConfig.set_flag takes"),
        (
            "def f(c: 'tensorrt.IExecutionContext'):\n    c.set_device_memory(1)",
            "IExecutionContext.set_device_memory takes",
        ),
        ("def f(b: 'tensorrt.Builder'):\n    b.create_network(flag=1)", "Builder.create_network takes"),
        ("def f(trt):\n    return trt.BuilderFlag.FP16", "BuilderFlag.FP16 does not exist"),
        ("def f(b: 'tensorrt.Builder'):\n    n = b.create_network(0)\n    n.num_layer", "num_layer does not exist"),
    ],
)
def test_wrong_calls_are_seen(apis, source, says):
    found = ApiUse(source, "f.py", apis["11.4"])
    assert any(says in fault for use in found.uses for fault in faults_of(use, apis["11.4"]))


def _unchecked(source):
    """Calls that TensorRT may refuse and whose answer nobody looks at."""
    tree = ast.parse(source)
    looked_at = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "checked":
            looked_at.add(id(node.args[0]))
        if isinstance(node, (ast.If, ast.IfExp)):  # a condition, or compared with None in one
            looked_at.update(id(child) for child in ast.walk(node.test))
        if isinstance(node, ast.AnnAssign) and "None" in ast.unparse(node.annotation):  # mypy has it compared with None
            looked_at.update(id(child) for child in ast.walk(node))
    return [
        f"{node.lineno} {ast.unparse(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and id(node) not in looked_at
        and node.func.attr.startswith(REFUSES) and not _is_ours(node)
    ]  # fmt: skip


def _is_ours(node):
    """Calls of our own wrappers, which raise by themselves."""
    return ast.unparse(node.func).startswith(("self._cuda.", "cuda.", "os.", "json."))


@pytest.mark.parametrize("path", USERS, ids=lambda path: path.name)
def test_every_answer_that_can_be_null_is_looked_at(path):
    assert _unchecked(path.read_text()) == []


CLASSES = ("Builder", "OnnxParser", "Runtime", "Refitter", "OnnxParserRefitter")  # whose factories may give null


def _constructed_plainly(source):
    """Constructors of TensorRT that are called, instead of being handed to `constructed`."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [ast.unparse(c) for c in calls if isinstance(c.func, ast.Attribute) and c.func.attr in CLASSES]


@pytest.mark.parametrize("path", USERS, ids=lambda path: path.name)
def test_every_constructor_that_can_give_null_is_looked_at(path):
    assert _constructed_plainly(path.read_text()) == []
    assert _constructed_plainly("builder = trt.Builder(log)") == ["trt.Builder(log)"]


def test_null_from_a_constructor_is_one_line():
    def null(*_arguments):
        raise TypeError("pybind11::init(): factory function returned nullptr")

    log = SimpleNamespace(errors=Errors())
    log.errors.add("CUDA initialization failure with error: 35")
    with pytest.raises(DeviceError, match="TensorRT could not create a builder: CUDA initialization failure"):
        constructed(null, "create a builder", log, log)
    with pytest.raises(DeviceError, match="does not say why"):
        checked(None, "build the engine", SimpleNamespace(errors=Errors()))
    assert checked(0, "count", log) == 0


def test_an_unchecked_answer_is_seen():
    assert _unchecked("engine = runtime.deserialize_cuda_engine(plan)") != []
    assert _unchecked("context.set_input_shape('images', shape)") != []
    source = (ROOT / "runtime" / "trt" / "lease.py").read_text()
    planted = source.replace("checked(context.set_tensor_address(binding.name, address), f\"bind {binding.name}\", self._log)",
                             "context.set_tensor_address(binding.name, address)")  # fmt: skip
    assert planted != source
    assert len(_unchecked(planted)) == 1


def test_cuda_python_has_what_we_call():
    from cuda.bindings import runtime as cudart

    source = (ROOT / "runtime" / "trt" / "cuda.py").read_text()
    names = {
        ast.unparse(node).removeprefix("cudart.")
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("cudart.")
    }
    assert len(names) > 20
    for name in names:
        value = cudart
        for part in name.split("."):
            value = getattr(value, part)
