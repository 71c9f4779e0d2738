"""Block by block against float32: a planted loss is found where it was planted."""

import shutil

import onnx
import pytest
from onnx import TensorProto, helper

import deepvit.measure.compare.layers
from deepvit.export.engine.building.process import build_engine
from deepvit.export.engine.options import EngineOptions
from deepvit.export.graph.float32 import float32_onnx
from deepvit.export.graph.spec import spec_from_manifest
from deepvit.export.options import ExportOptions, GraphOptions, Target
from deepvit.export.pipeline import export_artifact
from deepvit.images.samples import parity_crops
from deepvit.measure.compare.artifact_layers import report_layers
from deepvit.measure.compare.layers import _graph, _marked, compare_engine_layers, compare_layers
from deepvit.measure.compare.result import Fall, LayerDistance, steepest_fall
from deepvit.measure.options import WeightOptions
from deepvit.runtime.artifact import open_artifact
from deepvit.runtime.artifact.manifest import Backend, BatchRange, BuildLimits, Census, Engine, Precision
from deepvit.runtime.errors import InputError
from tests.doubles.changed_artifact import shift_mean


class Planted:
    """An artifact whose graph was changed."""

    def __init__(self, artifact, content):
        self.manifest, self.content = artifact.manifest, content

    def read(self, name):
        return self.content


@pytest.fixture(scope="module")
def setting(tiny_artifact, tiny_loaded):
    artifact = open_artifact(tiny_artifact)
    crops = parity_crops(None, 4, artifact.manifest.preprocess)
    reference = float32_onnx(tiny_loaded, spec_from_manifest(artifact.manifest), crops)
    return artifact, reference, artifact.manifest.input_from(crops)


def test_fp16_is_close_at_every_block(setting):
    layers = compare_layers(*setting)
    assert [layer.layer for layer in layers] == ["blocks.0", "blocks.1", "logits"]
    assert all(45 < layer.sqnr_db < 100 for layer in layers)


def test_a_padded_graph_is_compared_at_its_real_tokens(setting, tiny_loaded, tmp_path):
    """With a reference that has no padding, and hence fewer rows."""
    _, reference, images = setting
    options = ExportOptions(graph=GraphOptions(pad_tokens=True, target=Target.ONNX), output=tmp_path / "padded")
    layers = compare_layers(export_artifact(tiny_loaded, options), reference, images)
    assert [layer.layer for layer in layers] == ["blocks.0", "blocks.1", "logits"]
    assert all(45 < layer.sqnr_db < 100 for layer in layers)


def test_a_planted_loss_is_found_at_its_block(setting):
    artifact, reference, images = setting
    model = onnx.load_from_string(artifact.read("model.onnx"))
    index, node = next((i, n) for i, n in enumerate(model.graph.node) if n.name == "blocks.1.mlp.fc2/MatMul")
    source, node.input[0] = node.input[0], "coarse"
    coarse = [
        helper.make_node("Cast", [source], ["fewer_bits"], to=TensorProto.FLOAT8E4M3FN),
        helper.make_node("Cast", ["fewer_bits"], ["coarse"], to=TensorProto.FLOAT16),
    ]
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:index], *coarse, *nodes[index:]])
    layers = compare_layers(Planted(artifact, model.SerializeToString()), reference, images)
    worst = steepest_fall(layers)
    assert worst.layer == "blocks.1"
    assert worst.fall_db > 10


def test_an_engine_is_built_with_every_blocks_output(setting, monkeypatch):
    """TensorRT-RTX itself builds the marked graph; for want of a GPU, ONNX Runtime gives its answers."""
    artifact, reference, images = setting
    record = Engine(
        file="engine.rtx.plan", backend="tensorrt-rtx", version="1.7.1.116", compute_capability="8.9,12.0", gpu=None,
        driver=None, profile=BatchRange(min=1, opt=8, max=64), census=Census(network={}),
        options=BuildLimits(workspace_bytes=1 << 30, optimization_level=4),
    )  # fmt: skip
    plans, jobs = [], []

    class Standing:
        run = staticmethod(_graph(artifact.read("model.onnx"), "graph", artifact.manifest.batch))

        def close(self):
            plans.append("closed")

    monkeypatch.setattr(
        deepvit.measure.compare.layers, "_engine", lambda plan, *_: plans.append(len(plan)) or Standing()
    )
    monkeypatch.setattr(
        deepvit.measure.compare.layers,
        "build_engine",
        lambda onnx, job, *others: jobs.append(job) or build_engine(onnx, job, *others),
    )
    layers = compare_engine_layers(artifact, record, reference, images, lambda phase, share: None)
    assert layers == compare_layers(artifact, reference, images)
    assert plans[0] > 10_000
    assert plans[1] == "closed"
    (job,) = jobs  # as the engine that it stands for was built
    assert job.options == EngineOptions(
        backend=Backend.TENSORRT_RTX,
        compute_capabilities=("8.9", "12.0"),
        workspace_bytes=1 << 30,
        optimization_level=4,
    )
    assert job.batch == record.profile


def test_graphs_of_other_models_are_refused(setting):
    artifact, reference, images = setting
    with pytest.raises(InputError, match="no nodes named blocks.N"):
        _marked(helper.make_model(helper.make_graph([], "empty", [], [])).SerializeToString(), "it")
    model = onnx.load_from_string(reference)
    for node in model.graph.node:
        node.name = node.name.replace("blocks.1", "blocks.7")
    with pytest.raises(InputError, match=r"not of the same model: only one has blocks\.1, blocks\.7"):
        compare_layers(artifact, model.SerializeToString(), images)


def test_reports_against_an_artifact_and_of_a_fixed_batch(tiny_loaded, tmp_path):
    graph = GraphOptions(batch=BatchRange(min=3, opt=3, max=3))
    artifact = export_artifact(tiny_loaded, ExportOptions(graph=graph, output=tmp_path / "fp16"))
    wide = GraphOptions(batch=BatchRange(min=3, opt=3, max=3), precision=Precision.FP32)
    export_artifact(tiny_loaded, ExportOptions(graph=wide, output=tmp_path / "fp32"))
    report = report_layers(artifact, tmp_path / "fp32", WeightOptions(), None, None, lambda step: None)
    assert (report.images, len(report.graph), report.engine) == (3, 3, None)
    with pytest.raises(InputError, match="expected fp32 with"):
        report_layers(artifact, tmp_path / "fp16", WeightOptions(), None, None, lambda step: None)
    with pytest.raises(InputError, match="is float32 itself"):
        report_layers(open_artifact(tmp_path / "fp32"), None, WeightOptions(), None, None, lambda step: None)


def test_layers_of_one_channel(grey_artifact):
    reference = grey_artifact.with_name("fp32")
    report = report_layers(open_artifact(grey_artifact), reference, WeightOptions(), None, 2, lambda step: None)
    assert all(45 < layer.sqnr_db < 100 for layer in report.graph)


@pytest.mark.parametrize("changed", ["grey", "fp32"])
def test_a_manifest_that_is_not_the_graphs_is_refused(grey_artifact, tmp_path, changed):
    folders = {"grey": grey_artifact, "fp32": grey_artifact.with_name("fp32")}
    copies = {name: shutil.copytree(folder, tmp_path / name) for name, folder in folders.items()}
    shift_mean(copies[changed])
    with pytest.raises(InputError, match=r"preprocess.mean is \[0.9, 0.9, 0.9\] by the manifest"):
        report_layers(open_artifact(copies["grey"]), copies["fp32"], WeightOptions(), None, 2, lambda step: None)


def test_where_it_falls_most():
    def distances(*values):
        return [LayerDistance(layer=str(index), sqnr_db=value) for index, value in enumerate(values)]

    assert steepest_fall(distances(70.0, 60.0, 58.0)) == Fall(layer="1", fall_db=10.0)
    assert steepest_fall(distances(50.0, 60.0)) is None
    assert steepest_fall(distances(None, 60.0)) is None
    assert steepest_fall([]) is None
