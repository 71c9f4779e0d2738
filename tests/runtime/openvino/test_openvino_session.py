"""OpenVINO computes in the numbers that a graph declares, gives its logits in order, and refuses what it cannot run."""

import concurrent.futures
import os
import subprocess
import sys
import threading

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from deepvit.calibration.options import QuantizationOptions
from deepvit.export.options import ExportOptions, GraphOptions
from deepvit.export.pipeline import export_artifact
from deepvit.metrics.distance import sqnr_of
from deepvit.runtime import Arithmetic, open_session
from deepvit.runtime.artifact import MODEL
from deepvit.runtime.artifact.manifest import GOLDEN_SQNR_DB, BatchRange, Precision
from deepvit.runtime.errors import DeviceError, InputError, MissingError, NonFiniteError
from deepvit.runtime.opening import proved_graph
from deepvit.runtime.openvino import library, run
from deepvit.runtime.openvino.session import ACTIVATION_GROUPS, OpenVinoSession
from deepvit.runtime.session import Overlapping, begin, run_each
from tests.doubles.tiny_models import pixels

AS_WE_LOAD_IT = "from deepvit.runtime.openvino.library import load_openvino\nload_openvino()\n"
MESSENGER = "import pathlib\npathlib.Path({mark!r}).touch()\nraise ImportError\n"


@pytest.fixture
def images():
    return (pixels((7, 3, 32, 32)) / 127.5 - 1).astype(np.float32)


@pytest.fixture
def content(tiny_artifact):
    return (tiny_artifact / MODEL).read_bytes()


@pytest.fixture(scope="module")
def weight_only(tiny_loaded, tmp_path_factory):
    graph, quantization = GraphOptions(precision=Precision.INT8), QuantizationOptions(weight_only=True)
    folder = tmp_path_factory.mktemp("weights") / "weight-only"
    options = ExportOptions(graph=graph, quantization=quantization, output=folder, parity_images=2)
    export_artifact(tiny_loaded, options)
    return folder


@pytest.mark.parametrize("precision", list(Precision), ids=lambda precision: precision.value)
def test_every_precision_gives_the_declared_logits(artifacts_by_precision, images, precision):
    folder = artifacts_by_precision[precision]
    session = open_session(folder, "openvino", threads=1)
    declared = open_session(folder, "cpu", arithmetic=Arithmetic.AS_DECLARED).run(images)
    assert sqnr_of(session.run(images), declared) >= GOLDEN_SQNR_DB[precision]
    in_bfloat16 = precision is Precision.BF16 and library.has_bfloat16()
    assert session.description.endswith(" in BF16" if in_bfloat16 else " in FP32")
    if precision is Precision.FP32:
        assert np.abs(session.run(images) - declared).max() <= 1e-4


def _leave_out(monkeypatch, setting):
    """Let OpenVINO be told all settings but one."""
    real = library.load_openvino

    def load():
        core = real()

        class Core:
            read_model = staticmethod(core.read_model)

            @staticmethod
            def compile_model(model, device, settings):
                return core.compile_model(model, device, {k: v for k, v in settings.items() if k != setting})

        return Core()

    monkeypatch.setattr("deepvit.runtime.openvino.session.load_openvino", load)


def test_its_own_choice_of_arithmetic_is_noticed(artifacts_by_precision, monkeypatch):
    """BF16 for FP32, where the processor has it, is about 50 dB on trained models: the golden logits let that pass."""
    if not library.has_bfloat16():
        pytest.skip("this processor has no BF16, so that OpenVINO computes in FP32 whatever it is asked")
    _leave_out(monkeypatch, "INFERENCE_PRECISION_HINT")
    with pytest.raises(MissingError, match="in bf16 here, where f32 was asked for"):
        open_session(artifacts_by_precision[Precision.FP32], "openvino")


def test_activations_beside_weights_in_eight_bits_are_not_rounded(weight_only, images, monkeypatch):
    """By default they are, in groups of 32, where the processor has VNNI: no graph declares that."""
    declared = open_session(weight_only, "cpu").run(images)
    assert sqnr_of(open_session(weight_only, "openvino").run(images), declared) >= 60
    _leave_out(monkeypatch, ACTIVATION_GROUPS)
    with pytest.raises(MissingError, match="rounds activations of .* to eight bits"):
        open_session(weight_only, "openvino")


@pytest.mark.parametrize("precision", list(Precision), ids=lambda precision: precision.value)
def test_it_is_taken_where_it_is_faster(artifacts_by_precision, monkeypatch, precision):
    """Nothing named, and natively: who measures as declared has what that rounds."""
    folder = artifacts_by_precision[precision]
    monkeypatch.setattr(library, "has_bfloat16", lambda: True)
    own = "ONNX Runtime" if precision is Precision.FP8 else "OpenVINO"
    assert open_session(folder).description.startswith(own)
    assert open_session(folder / MODEL).description.startswith(own)
    assert open_session(folder, arithmetic=Arithmetic.AS_DECLARED).description.startswith("ONNX Runtime")


def test_bf16_is_for_processors_that_multiply_it(artifacts_by_precision, monkeypatch):
    monkeypatch.setattr(library, "has_bfloat16", lambda: False)
    with pytest.raises(MissingError, match="pip install openvino"):
        open_session(artifacts_by_precision[Precision.BF16])


@pytest.mark.parametrize("batch", [BatchRange(min=1, opt=2, max=2), BatchRange(min=4, opt=4, max=4)], ids=str)
def test_batches_are_split_and_padded(content, images, batch):
    whole = OpenVinoSession(content, name="m").run(images)
    assert np.abs(OpenVinoSession(content, name="m", batch=batch).run(images) - whole).max() < 1e-3


def test_runs_that_overlap_give_the_same(content, images):
    session = OpenVinoSession(content, name="m", threads=1)
    assert isinstance(session, Overlapping)
    batches = [images[:1], images[1:4], images[4:], images[:2], images]
    assert all(
        np.array_equal(one, other)
        for one, other in zip(run_each(session, batches), map(session.run, batches), strict=True)
    )
    changed = images.copy()
    pending = [begin(session, changed) for _ in range(5)]  # more than can be under way
    changed[:] = 0
    assert all(np.array_equal(each.result(), session.run(images)) for each in reversed(pending))
    begin(session, images)
    session.close()


def test_processes_that_share_the_cores_are_not_pinned_to_the_first(content):
    """Two processes of a thread each ran at half their speed on two cores."""
    session = OpenVinoSession(content, name="m", threads=1)
    assert session._compiled.get_property("ENABLE_CPU_PINNING") is False
    session.close()


@pytest.mark.parametrize("streams", [1, 2])
def test_callers_of_several_threads_get_their_own(content, images, streams):
    session = OpenVinoSession(content, name="m", streams=streams)
    alone = [session.run(images[n : n + 1]) for n in range(len(images))]
    with concurrent.futures.ThreadPoolExecutor(4) as callers:
        turns = [n % len(images) for n in range(60)]
        found = list(callers.map(lambda n: session.run(images[n : n + 1]), turns))
    assert all(np.abs(one - alone[n]).max() < 1e-5 for n, one in zip(turns, found, strict=True))
    session.close()
    with pytest.raises(DeviceError, match="m is closed"):
        session.run(images)


def test_who_waits_for_one_run_lets_others_begin(content, images):
    """Of two streams both compute: a second caller's run ends while the first's is not waited for to its end."""
    session = OpenVinoSession(content, name="m", streams=2)
    slow, is_waiting, go_on = begin(session, images), threading.Event(), threading.Event()
    assert isinstance(slow, run.OpenVinoRun)
    slow._batches[0].request = _Slow(slow._batches[0].request, is_waiting, go_on)
    with concurrent.futures.ThreadPoolExecutor(2) as callers:
        first = callers.submit(slow.result)
        assert is_waiting.wait(10)
        second = callers.submit(session.run, images)
        assert np.isfinite(second.result(10)).all()
        assert not first.done()
        go_on.set()
        assert np.isfinite(first.result(10)).all()


class _Slow:
    def __init__(self, request, is_waiting, go_on):
        self._request, self._is_waiting, self._go_on = request, is_waiting, go_on

    def wait(self):
        self._is_waiting.set()
        assert self._go_on.wait(10)
        self._request.wait()

    def get_output_tensor(self, number):
        return self._request.get_output_tensor(number)


def test_streams_are_openvinos(tiny_artifact):
    with pytest.raises(InputError, match="2 streams are for OpenVINO"):
        open_session(tiny_artifact, "cpu", streams=2)
    assert open_session(tiny_artifact, "openvino", streams=2).at_once == 3


def test_a_run_that_fails_is_that_runs(content, images, monkeypatch):
    session = OpenVinoSession(content, name="m", threads=1)
    good = begin(session, images)
    monkeypatch.setattr(run.Batch, "wait", refuse := _refusing(run.Batch.wait))
    bad = begin(session, images)
    with pytest.raises(InputError, match="m failed on 7 images: no memory"):
        bad.result()
    assert refuse.count == 1
    assert np.isfinite(good.result()).all()
    assert np.isfinite(session.run(images)).all()


def _refusing(wait):
    """Return `wait` that fails the second time, as where memory is short; the first run is waited for before."""

    def refuse(batch, name, classes):
        refuse.calls += 1
        if refuse.calls == 1:
            refuse.count += 1
            batch.request.wait()
            batch.request = _Failing(batch.request)
        return wait(batch, name, classes)

    refuse.calls = refuse.count = 0
    return refuse


class _Failing:
    """A request that fails once."""

    def __init__(self, request):
        self._request = request

    def __getattr__(self, name):
        return getattr(self._request, name)

    def wait(self):
        self.wait = self._request.wait
        raise RuntimeError("Exception from src/cpp/infer_request.cpp:224:\nno memory\n")


def test_wrong_images_are_refused(content, images):
    session = OpenVinoSession(content, name="m", threads=1)
    for wrong in (images[:0], images[..., :31], images.astype(np.float64), images[0], (images * 9).astype(np.uint8)):
        with pytest.raises(InputError, match="expected float32"):
            session.run(wrong)


def test_logits_that_are_not_finite_are_refused():
    session = OpenVinoSession(_model("GlobalAveragePool", "Flatten", "Log", outputs=("batch", 3)), name="m")
    images = np.ones((7, 3, 4, 4), np.float32)
    assert np.array_equal(session.run(images), np.zeros((7, 3)))
    images[2] = -1
    with pytest.raises(NonFiniteError, match="the logits of 1 of 7 images"):
        session.run(images)


def _model(*operations, dtype=TensorProto.FLOAT, shape=("batch", 3, 4, 4), outputs=("batch", 3, 4, 4)):
    names = ["x", *(f"y{number}" for number in range(1, len(operations))), "y"]
    graph = helper.make_graph(
        [helper.make_node(kind, [names[i]], [names[i + 1]]) for i, kind in enumerate(operations)],
        "other",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", dtype, outputs)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (_model("Relu"), "gives f32 .*; expected float32 logits"),
        (_model("Relu", shape=("batch", 3), outputs=("batch", 3)), "expected one input of 4-D float32"),
        (_model("Abs", dtype=TensorProto.INT64), "takes x i64"),
        (_model("GlobalAveragePool", "Flatten", shape=("batch", 3, "h", "w"), outputs=("batch", 3)), "of one size"),
        (_model("Nonsense"), r"is not a model that OpenVINO can load: .*Nonsense"),
        (b"", "is not a model that OpenVINO can load"),
        (b"not a model", "damaged or not an ONNX file"),
    ],
    ids=["no logits", "no images", "integers", "any size", "unknown", "empty", "text"],
)
def test_what_is_no_classifier_is_refused_in_one_line(content, expected):
    with pytest.raises(InputError, match=expected) as caught:
        OpenVinoSession(content, name="m")
    assert "\n" not in str(caught.value)


def test_a_model_that_needs_another_file_is_refused(content):
    model = onnx.load_from_string(content)
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")
    with pytest.raises(InputError, match="in another file"):
        OpenVinoSession(model.SerializeToString(), name="m")


def test_other_outputs_than_logits_are_of_onnx_runtime(tiny_artifact):
    from deepvit.runtime.artifact import open_artifact

    with pytest.raises(InputError, match="‹provider› openvino gives logits alone"):
        proved_graph(open_artifact(tiny_artifact), "openvino")


def test_it_cannot_be_loaded(tiny_artifact, monkeypatch, caplog):
    """Where nobody asked for it, that is no reason not to run a model."""
    monkeypatch.setattr(library, "load_openvino", _refusing_to_load)
    assert open_session(tiny_artifact).description.startswith("ONNX Runtime")
    assert "not using OpenVINO: it is broken" in caplog.text


def _refusing_to_load():
    raise MissingError("it is broken")


def test_it_is_not_installed(tiny_artifact, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert not library.is_installed()
    assert not library.has_bfloat16()
    assert open_session(tiny_artifact).description.startswith("ONNX Runtime")
    with pytest.raises(MissingError, match="pip install openvino"):
        open_session(tiny_artifact, "openvino")


@pytest.mark.parametrize(
    ("before", "is_asked"), [(AS_WE_LOAD_IT, False), ("", True)], ids=["as we load it", "as it is"]
)
def test_it_is_loaded_without_its_messenger(tmp_path, before, is_asked):
    """The second is the negative control. The messenger of the test leaves a mark and is not to be had."""
    mark, home = tmp_path / "mark", tmp_path / "home"
    home.mkdir()
    (tmp_path / "openvino_telemetry.py").write_text(MESSENGER.format(mark=str(mark)))
    program = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n{before}import openvino\n"
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | {"HOME": str(home)})
    assert mark.exists() == is_asked
    assert list(home.iterdir()) == []
