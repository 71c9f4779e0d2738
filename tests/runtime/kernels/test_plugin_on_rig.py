"""One node ReAttention through TensorRT's real parser and builder, without a GPU; plugin_network.py has the graph and the layer.

The plugin's library is there where the C++ runtime was built with TensorRT's headers, with kernels in name only.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests.places import ROOT

HERE = pathlib.Path(__file__).parent
LIBRARY = ROOT / "build/cpp/plugin/tests/libstand_in_reattention.so"
built = pytest.mark.skipif(not LIBRARY.exists(), reason="the C++ runtime was built without TensorRT's headers")
ONE_LAYER = ["UNARY", "CONSTANT", "CONSTANT", "CONSTANT", "PLUGIN_V3", "UNARY"]


@pytest.fixture
def build(rig, tmp_path):
    """What became of the graph, by who computes the node."""
    libraries = pathlib.Path(rig.variables["RTX_LIBRARY_DIR"])
    (library,) = libraries.glob("libtensorrt_rtx.so.*.*.*")
    (tmp_path / "libtensorrt_rtx.so").symlink_to(library)  # the parser asks for it by this name

    def run(*arguments):
        environment = rig.environment()
        environment["PYTHONPATH"] += f"{os.pathsep}{ROOT}"
        environment["LD_LIBRARY_PATH"] = f"{tmp_path}{os.pathsep}{os.environ.get('LD_LIBRARY_PATH', '')}"
        command = [sys.executable, HERE / "plugin_network.py", *map(str, arguments)]
        found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert found.returncode == 0, found.stderr
        return json.loads(found.stdout)

    return run


def test_a_layer_of_the_contract_is_made_from_the_node(build):
    found = build("class")
    assert found["layers"] == ONE_LAYER
    assert found["errors"] == []
    assert found["plan"] > 0
    assert found["kept"] == ["scale", "tokens", "queries"]
    created, *others = found["calls"]
    assert created == ["create", {"scale": pytest.approx(32**-0.5), "tokens": 197, "queries": 1}, "BUILD"]
    assert ["types", "HALF", "FLOAT", "FLOAT", "FLOAT"] in others
    assert ["configure", [-1, 200, 3, 12, 32], [64, 200, 3, 12, 32], [12, 12]] in others


def test_without_a_plugin_the_same_file_is_built_by_its_body(build):
    found = build("body")
    assert found["errors"] == []
    assert found["plan"] > 0
    assert "PLUGIN_V3" not in found["layers"]
    assert "SOFTMAX" in found["layers"]


@built
@pytest.mark.parametrize("how", ["", "opened:"], ids=["by-its-registry", "by-dlopen-alone"])
def test_the_library_is_taken(build, how):
    found = build(f"{how}{LIBRARY}")
    assert found["layers"] == ONE_LAYER
    assert found["errors"] == []
    assert found["plan"] > 0
    assert found["kept"] == ["scale", "tokens", "queries", "kernels"]


@built
def test_the_library_refuses_a_shape_without_a_kernel_by_name(build):
    found = build(LIBRARY, 64)
    assert found["plan"] is None
    assert found["errors"][0] == (
        "deepvit::ReAttention: no kernel for 12 heads of width 64 over 197 tokens in FP16 "
        "on every kind of GPU is in this library"
    )
