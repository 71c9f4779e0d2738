"""`inspect --kernels`: what TensorRT-RTX makes of an artifact's graph, counted and weighed."""

import json
import math
import os
import re
import shutil

import onnx
import pytest
from onnx import TensorProto, helper

import deepvit.export.engine.listing.compile
from deepvit.export.engine.building.process import build_engine
from deepvit.export.engine.layers import EngineLayer, Tensor
from deepvit.export.engine.listing.compile import Graph, compile_kernels, graph_of, lone_graph
from deepvit.export.engine.listing.traffic import Kernel, kernels_of
from deepvit.runtime.artifact import MANIFEST, open_artifact, record_file
from deepvit.runtime.artifact.manifest import BatchRange, Census, Engine
from deepvit.runtime.errors import InputError
from tests.commands.command_line import refused_here, run_anew, valid_result

BATCH = 4
BYTES = {"Float": 4, "Half": 2, "Int32": 4, "Int64": 8, "Int8": 1}


@pytest.fixture(scope="module")
def shown(tiny_artifact, tmp_path_factory):
    """What the command prints of the tiny artifact, and its JSON, in a Python that has no PyTorch."""
    folder = tmp_path_factory.mktemp("kernels")
    (folder / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n")
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    result = run_anew(
        "inspect", tiny_artifact, "--kernels", "--batch", BATCH, "--json", folder / "found.json",
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "80"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout, valid_result(folder / "found.json")["kernels"]


@pytest.fixture(scope="module")
def listed(tiny_artifact):
    """The same engine's layers as TensorRT-RTX lists them: lines of text."""
    listings = []

    def build(*arguments):
        built = build_engine(*arguments)
        listings.append(built.listing)
        return built

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deepvit.export.engine.listing.compile, "build_engine", build)
        compile_kernels(graph_of(open_artifact(tiny_artifact)), BATCH, "8.9", lambda phase, share: None)
    return [line for line in listings[0].splitlines() if line.startswith("Name: ")]


def test_the_totals_are_those_of_the_listing(shown, listed):
    """Counted from the text, without our parser."""
    text, found = shown
    lines = [line for line in listed if not re.search("LayerType: (shape_call|reshape|cast|signal|wait),", line)]
    tensor = re.compile(r"Dimensions: \[([\d,]*)\].*?Datatype: (\w+)")
    moved = sum(
        math.prod(int(side) for side in sides.split(",") if side) * BYTES[kind]
        for line in lines
        for sides, kind in tensor.findall(line.partition("TacticName")[0])
    )
    assert (found["count"], found["batch"]) == (len(lines), BATCH)
    assert sum(kernel["bytes"] for kernel in found["kernels"]) == moved > 100_000
    assert found["mb_per_image"] == pytest.approx(moved / BATCH / 1e6, rel=1e-5)
    assert f"{len(lines)} kernels, {moved / BATCH / 1e6:.1f} MB an image through memory" in text


def test_types_and_names_are_the_same_kernels_in_groups(shown):
    text, found = shown
    moved = sum(kernel["bytes"] for kernel in found["kernels"])
    for groups in (found["types"], found["patterns"]):
        assert sum(group["count"] for group in groups) == found["count"] == len(found["kernels"])
        sizes = [group["bytes"] for group in groups]
        assert sum(sizes) == moved
        assert sizes == sorted(sizes, reverse=True)
    assert {group["name"] for group in found["types"]} >= {"kgen", "gemm"}
    assert any("blocks.0.mlp.fc1/MatMul" in kernel["onnx"] for kernel in found["kernels"])
    table = text[text.index("compiled by TensorRT-RTX") :]
    assert all(len(line) <= 80 for line in table.splitlines() if "next:" not in line)


def test_a_larger_batch_moves_fewer_weights_an_image(tiny_artifact, shown):
    compiled = compile_kernels(graph_of(open_artifact(tiny_artifact)), 16 * BATCH, "12.0", lambda phase, share: None)
    assert sum(kernel.bytes for kernel in compiled.kernels) / 16 / BATCH / 1e6 < shown[1]["mb_per_image"]


@pytest.mark.parametrize(
    ("name", "is_copy"),
    [
        ("__myl_MoveConc_myl0_5", True),
        ("__myl_Slic_myl0_77", True),
        ("__myl_MoveReplConc_myl0_48", True),
        ("__myl_Resh_myl0_48", False),
        ("__myl_CastConc_myl0_1", False),
        ("__myl_SlicSlicMulMulAdd_myl0_1", False),
        ("__myl_AddMoveReshTran_myl0_1", False),
        ("blocks.0.attn/Slice_Conc_myl0_1", False),
    ],
)
def test_copies_that_only_align(name, is_copy):
    assert Kernel(name, "kgen", 1, ()).is_aligning_copy is is_copy


def test_bytes_of_a_kernel():
    layer = EngineLayer(
        "blocks.7.mlp.fc1/MatMul_myl0_3", "gemm", (Tensor("x", "HALF", (-1, 10)),), (Tensor("w", "INT8", (10, 5)),),
        (Tensor("y", "FLOAT", (8, 5)),), "", (),
    )  # fmt: skip
    shapes = EngineLayer("shapes", "shape_call", (), (), (), "", ())
    (kernel,) = kernels_of([layer, shapes], 8)
    assert kernel.bytes == 8 * 10 * 2 + 10 * 5 + 8 * 5 * 4
    assert kernel.pattern == "blocks.*.mlp.fc1/MatMul"


def test_a_lone_model_has_the_kernels_of_its_artifact(tiny_artifact, tmp_path, shown):
    lone = tmp_path / "lone.onnx"
    model = onnx.load(tiny_artifact / "model.onnx")
    for is_silent in (False, True):
        if is_silent:
            del model.metadata_props[:]
        onnx.save(model, lone)
        result = run_anew("inspect", lone, "--kernels", "--batch", BATCH, "--json", tmp_path / "found.json")
        assert result.returncode == 0, result.stderr
        assert ("it does not say what it is" in result.stdout) is is_silent
        assert "not verified: no manifest" in result.stdout
        found = valid_result(tmp_path / "found.json")
        assert (found["manifest"], found["identity"] is None) == (None, is_silent)
        assert found["kernels"] == shown[1]


def test_a_lone_model_of_other_inputs(tmp_path):
    path = tmp_path / "open.onnx"
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "side"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    with pytest.raises(InputError, match="open in nothing but its batch"):
        lone_graph(path)


def test_a_plan_is_compiled_already(tiny_artifact, tmp_path, capsys):
    folder = tmp_path / "artifact"
    shutil.copytree(tiny_artifact, folder)
    plan = folder / "engine.plan"
    plan.write_bytes(b"a plan")
    manifest = open_artifact(folder).manifest
    engine = Engine(
        file=plan.name, backend="tensorrt", version="11.4.0.106", compute_capability="8.9", gpu=None, driver=None,
        profile=BatchRange(min=1, opt=4, max=8), census=Census(network={}),
    )  # fmt: skip
    files = manifest.files | {plan.name: record_file(plan)}
    (folder / MANIFEST).write_text(manifest.model_copy(update={"engines": (engine,), "files": files}).to_json())
    line = refused_here(2, ["inspect", str(plan), "--kernels", "--batch", "8"], capsys)
    assert f"{plan} is compiled already; give its artifact, {folder}, and a --batch of its profile, 1:4:8" in line
    lone = plan.rename(tmp_path / "lone.plan")
    line = refused_here(2, ["inspect", str(lone), "--kernels", "--batch", "8"], capsys)
    assert f"{lone} is compiled already; give the model.onnx and a --batch that it takes" in line


def test_refusals(tiny_artifact, tmp_path, capsys, monkeypatch):
    lone = tmp_path / "model.onnx"
    lone.write_bytes((tiny_artifact / "model.onnx").read_bytes())
    for arguments, says in (
        ([tiny_artifact, "--kernels"], "--kernels needs --batch N"),
        ([tiny_artifact, "--kernels", "--batch", 65], "--batch 65: the graph was proved up to 64"),
        ([tiny_artifact, "--batch", 8], "give --kernels too"),
        ([tiny_artifact, "--compute-capability", "8.9"], "give --kernels too"),
        ([tiny_artifact, "--kernels", "--batch", 1, "--compute-capability", "9.0"], "only for 7.5, 8.0, 8.6"),
        ([lone, "--kernels"], "--kernels needs --batch N"),
    ):
        assert says in refused_here(2, ["inspect", *map(str, arguments)], capsys), arguments
    monkeypatch.setattr(deepvit.export.engine.listing.compile, "installed_version", lambda _: None)
    line = refused_here(3, ["inspect", str(tiny_artifact), "--kernels", "--batch", "8"], capsys)
    assert "which needs no GPU; pip install tensorrt-rtx-cu13-bindings==" in line


def test_a_graph_of_one_batch_size_needs_no_batch():
    graph = Graph(content=b"", fixed_batch=3, most=64)
    assert graph.batch(None) == graph.batch(3) == 3
    assert graph.batches(None, (1, 8)) == [3]
    with pytest.raises(InputError, match="takes batches of 3 alone"):
        graph.batch(4)


def test_an_inspection_without_kernels_has_none(tiny_artifact, tmp_path):
    result = run_anew("inspect", tiny_artifact, "--json", tmp_path / "found.json")
    assert result.returncode == 0
    assert json.loads((tmp_path / "found.json").read_text())["kernels"] is None
