"""The table of forms and engines: what it calls wrong, its page, and what it rests on in ONNX Runtime."""

import copy
import dataclasses
import json

import numpy as np
import onnx
import onnxruntime
import pytest

from benchmarks.forms.cells import bound_for, cell_of, judge, row_of
from benchmarks.forms.engines import ENGINES, NotRunError, declared
from benchmarks.forms.page import PAGE, page_of
from deepvit.runtime.artifact.manifest import Precision
from tests.places import ROOT

RESULT = json.loads((ROOT / "benchmarks" / "results" / "forms.json").read_text())
FP32, DEFAULT = ENGINES["OpenVINO, f32"], ENGINES["OpenVINO, BF16"]


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    """The trained model in FP16, proved and tried on the bundled photographs."""
    from benchmarks.forms.__main__ import export_form, subject_of

    folder = tmp_path_factory.mktemp("forms") / "fp16"
    export_form("--fp16", None, folder)
    return subject_of(folder, None)


def test_the_page_is_the_results():
    assert page_of(RESULT) == PAGE.read_text()


def test_engines_are_judged(subject):
    names = ("ONNX Runtime, plain, ALL", "ONNX Runtime, our session", "OpenVINO, f32", "onnx.reference, mended")
    row = row_of(subject, declared(subject), {name: ENGINES[name] for name in names})
    assert {name: cell["verdict"] for name, cell in row["cells"].items()} == dict.fromkeys(names, "right")
    assert row["against_pytorch"]["sqnr_db"] is None
    assert row["packaged_level"] == "ALL"


def test_a_planted_fault_is_wrong(subject):
    expected = declared(subject)

    def answers(change):
        engine = dataclasses.replace(FP32, run=lambda subject: change(expected.copy()))
        return cell_of(engine, subject, expected)["verdict"]

    assert answers(lambda logits: logits) == "right"
    assert answers(lambda logits: logits + 0.05 * np.abs(logits).max()) == "wrong"
    assert answers(lambda logits: logits[:, ::-1]) == "wrong"
    assert answers(lambda logits: logits * np.where(np.arange(len(logits)) == 3, np.nan, 1)[:, None]) == "wrong"
    assert answers(lambda logits: logits[:1]) == "wrong"


@pytest.mark.parametrize(("error", "verdict"), [(RuntimeError, "refused"), (NotRunError, "not run")])
def test_what_does_not_answer_is_told_in_a_line(subject, error, verdict):
    def run(subject):
        raise error(f"no ‹fp16›\nin {subject.folder}")

    cell = cell_of(dataclasses.replace(FP32, run=run), subject, None)
    assert cell["verdict"] == verdict
    assert verdict != "refused" or cell["why"] == "no --fp16 in fp16"


def test_of_two_precisions_the_looser_holds():
    assert bound_for(Precision.FP32, DEFAULT).sqnr_db == 22
    assert bound_for(Precision.INT8, DEFAULT).sqnr_db == 20
    assert bound_for(Precision.FP32, FP32).sqnr_db == 80
    logits = np.eye(3, dtype=np.float32)
    assert judge(logits * 1.02, logits, bound_for(Precision.FP32, DEFAULT))["verdict"] == "right"
    assert judge(logits * 1.02, logits, bound_for(Precision.FP32, FP32))["verdict"] == "wrong"


@pytest.mark.parametrize("verdict", ["refused", "wrong"])
@pytest.mark.parametrize("engine", ["OpenVINO, f32", "onnx.reference, mended"])
def test_no_page_without_a_remedy(engine, verdict):
    content = copy.deepcopy(RESULT)
    content["forms"]["--fp32"]["cells"][engine] = {"verdict": verdict, "why": "planted"}
    with pytest.raises(LookupError, match="say in REMEDIES or WRONG what is to be done"):
        page_of(content)


def test_no_page_with_a_fault_in_what_is_packaged():
    content = copy.deepcopy(RESULT)
    content["forms"]["--fp8 --quantize-attention"]["packaged_level"] = "ALL"
    with pytest.raises(LookupError, match="`package` writes --fp8 --quantize-attention at ALL, where it is refused"):
        page_of(content)


def test_fp16_is_rounded_where_it_is_quantised():
    """ONNX Runtime 1.29 and older cut it off, as `trunc` does here: pyproject.toml's floor."""
    make, half = onnx.helper, onnx.TensorProto.FLOAT16
    graph = make.make_graph(
        [make.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"])],
        "quantised",
        [make.make_tensor_value_info("x", half, ["n"])],
        [make.make_tensor_value_info("y", onnx.TensorProto.INT8, ["n"])],
        [make.make_tensor("scale", half, [], [1.0]), make.make_tensor("zero", onnx.TensorProto.INT8, [], [0])],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 20)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    values = np.array([-2.6, -1.5, -0.6, 0.4, 0.5, 0.6, 2.9], np.float16)
    (got,) = session.run(None, {"x": values})
    assert got.tolist() == np.rint(values).tolist() != np.trunc(values).tolist()
