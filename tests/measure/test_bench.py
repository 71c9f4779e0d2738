"""A benchmark of models of known speed tells that speed; what fails is named, and the others go on."""

import contextlib
import json
import multiprocessing
import re
import time
from types import SimpleNamespace

import pytest

import deepvit.commands.app
from deepvit.measure.bench import turns, worker
from deepvit.measure.bench.conditions import Clocks, conditions_here, device_bytes, seen_clocks
from deepvit.measure.bench.options import BenchmarkOptions
from deepvit.measure.bench.pictures import draw_benchmark, draw_speed
from deepvit.measure.bench.result import Benchmark
from deepvit.measure.bench.timings import Subject
from deepvit.measure.bench.turns import run_benchmark
from deepvit.measure.bench.words import describe_benchmark, describe_copies
from deepvit.measure.bench.worker import BenchmarkWorker, FileOpener
from deepvit.measure.display.figures import new_figure
from deepvit.measure.display.names import short_names
from deepvit.measure.display.table import table_of
from deepvit.measure.report.collect import collect
from deepvit.measure.report.page import render_report
from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.openvino import library
from deepvit.runtime.session.tensors import RunTimes
from deepvit.runtime.trt.engine import EngineOnGpu
from deepvit.runtime.trt.session import TensorRtSession
from tests.doubles.benchmark_stub import StubOpener
from tests.doubles.fake_gpu import PLAN, Clock, FakeCuda, fake_library
from tests.doubles.terminal_page import rendered, tables
from tests.places import ROOT

QUICK = BenchmarkOptions(batches=(1, 4), rounds=5, turn_s=0.02, turn_runs=3, warm_up_s=0.3)
QUICKER = BenchmarkOptions(batches=(1,), rounds=1, turn_s=0.01, turn_runs=1, warm_up_s=0.01)


def _run(models, options=QUICK, baseline=None):
    subjects = [Subject(name=name, opener=opener, weights_sha256="0") for name, opener in models.items()]
    turns = []
    found = run_benchmark(
        subjects, options, "python deepvit.commands.app.py bench", lambda *turn: turns.append(turn), baseline
    )
    return found, turns


def test_speeds_ratios_and_distances():
    models = {
        "slow": StubOpener(seconds=0.004),
        "fast": StubOpener(seconds=0.001, factor=1.01),
        "pixels": StubOpener(dtype="uint8"),
    }
    found, turns = _run(models)
    assert [model.model for model in found.models] == list(models)
    assert (found.baseline, found.rounds, turns[-1]) == ("slow", 5, (30, 30))
    slow, fast, pixels = found.models
    for timing, own in zip(fast.timings, slow.timings, strict=True):
        assert timing.p50_ms >= 1.0 * timing.batch
        assert timing.p50_ms <= timing.p90_ms <= timing.p99_ms
        assert (
            0 < timing.cpu_ms < 1.1 * 1e3 * timing.batch / timing.images_per_second
        )  # of one thread, which never waits
        assert timing.ratio.low <= timing.ratio.median <= timing.ratio.high
        assert own.ratio.median == 1
        assert timing.runs >= 5 * 3
        assert timing.peak_host_bytes > 10e6
    assert fast.timings[0].ratio.median > 1.5  # four times as fast by what it waits, however busy the machine is
    assert fast.sqnr_db == pytest.approx(40, abs=0.1)  # 1% off
    assert (slow.sqnr_db, slow.not_compared) == (None, "the baseline")
    assert (pixels.sqnr_db, pixels.not_compared) == (None, "another input")
    assert all(model.first_answer_s > model.open_s >= 0 for model in found.models)
    assert all(not model.emulated for model in found.models)
    reread = Benchmark.model_validate_json(found.to_json())
    assert reread.models[0].timings[0].p50_ms == pytest.approx(slow.timings[0].p50_ms, rel=1e-5)


def test_what_cannot_be_timed_is_named_and_the_rest_goes_on():
    models = {
        "sound": StubOpener(),
        "missing": StubOpener(missing="no such thing here"),
        "killed": StubOpener(killed_at=1),
        "killed later": StubOpener(killed_at=4),
        "refused later": StubOpener(refused_at=4),
    }
    found, _ = _run(models)
    assert [model.model for model in found.models] == ["sound", "killed later", "refused later"]
    assert [len(model.timings) for model in found.models] == [2, 1, 1]
    why = {skipped.model: skipped.why for skipped in found.skipped}
    assert why["missing"] == "no such thing here"
    assert why["killed"].startswith("killed: its process ended")
    assert why["killed later"].startswith("from batch 4 on: ")
    assert why["refused later"] == "from batch 4 on: RuntimeError: out of memory"
    lines = [str(line) for line in describe_benchmark(found)]
    assert "not timed: missing: no such thing here" in lines


def test_refusals():
    opener = StubOpener(missing="nothing here")
    with pytest.raises(MissingError, match="no model can be timed here: a: nothing here"):
        _run({"a": opener})
    with pytest.raises(InputError, match="‹baseline› b is not among what is timed: a"):
        _run({"a": opener}, baseline="b")
    with pytest.raises(MissingError, match="‹baseline› a cannot be timed here"):
        _run({"a": opener, "b": StubOpener()}, baseline="a")
    with pytest.raises(InputError, match="twice: a, a"):
        run_benchmark([Subject(name="a", opener=opener)] * 2, QUICK, "", print)
    for wrong in ({"batches": ()}, {"batches": (0,)}, {"batches": (1, 1)}, {"rounds": 0}):
        with pytest.raises(InputError):
            BenchmarkOptions(**wrong)


def test_the_machine_is_described():
    host = conditions_here()
    assert host.cpu
    assert host.cores >= 1
    assert "numpy" in host.versions
    first = Clocks(cpu_mhz=(100.0, 100.0))
    seen = seen_clocks(first)
    assert seen.cpu_mhz[0] == 100.0
    assert seen.cpu_mhz[1] >= 100.0
    assert device_bytes(1) is None or host.gpu


class InThisProcess:
    """See `BenchmarkWorker`; it takes a second less."""

    pid, first_answer_s = 0, 0.1

    def __init__(self, name, opener):
        self.session = opener()
        logits = self.session.run(worker.pictures(self.session, 1))
        self.opening = worker.OpeningReply(
            runs_on="", is_emulated=False, open_s=0.1, dtype=self.session.input.dtype, logits=logits
        )

    def turn(self, *asked):
        return worker._run_turn(self.session, *asked)

    def close(self):
        pass


COPYING = RunTimes(staging_ms=2, copy_in_ms=0.5, compute_ms=2.4, copy_out_ms=0.1)
COMPUTING = RunTimes(staging_ms=2, copy_in_ms=0.5, compute_ms=2.6, copy_out_ms=0.1)


def test_parts_on_a_gpu_are_told_and_smaller_images_advised_where_copying_takes_longest(monkeypatch, tmp_path):
    monkeypatch.setattr(turns, "BenchmarkWorker", InThisProcess)
    models = {
        "a/plain": StubOpener(),
        "a/copying": StubOpener(times=COPYING),
        "a/pixels": StubOpener(times=COPYING, dtype="uint8"),
        "a/computing": StubOpener(times=COMPUTING),
    }
    found, _ = _run(models, QUICKER)
    plain, copying, *_ = (model.timings[0] for model in found.models)
    assert (plain.device, plain.overlapped_images_per_second) == (None, None)
    assert plain.throughput == plain.images_per_second
    assert copying.device.total_ms == pytest.approx(3.0)
    assert copying.overlapped_images_per_second > 0
    assert [model.input_dtype for model in found.models] == ["float32", "float32", "uint8", "float32"]
    lines = list(describe_benchmark(found))
    said = [line for line in lines if isinstance(line, str) and "‹input› uint8" in line]
    assert said == [
        "copying: copying takes longer than computing, 2.50 of 2.40 ms at batch 1; export with ‹input› uint8, a quarter "
        "of the bytes"
    ]
    (row,) = re.findall(r"^copying +2.00 .*", tables(lines), re.MULTILINE)
    assert row.split()[1:6] == ["2.00", "0.50", "2.40", "0.10", "3.00"]
    assert max(map(len, tables(lines).splitlines())) <= 80
    (tmp_path / "bench.json").write_text(found.to_json())
    page = render_report(collect(tmp_path), "title", "now")
    assert page.count("copied in") == 1
    assert "export with ‹input› uint8, a quarter of the bytes" in page
    older = json.loads(found.to_json())
    for model in older["models"]:
        del model["input_dtype"]
        for timing in model["timings"]:
            del timing["device"], timing["overlapped_images_per_second"]
    assert list(describe_copies(Benchmark.model_validate(older))) == []


def test_throughput_is_that_of_runs_that_overlap(monkeypatch):
    cuda = FakeCuda(clock=Clock(copy_in=2.0, compute=3.0, copy_out=0.2))
    session = TensorRtSession(EngineOnGpu(PLAN, fake_library(), cuda, name="engine.plan"))
    monkeypatch.setattr(
        worker, "time", SimpleNamespace(perf_counter=lambda: cuda.clock.now, process_time=time.process_time)
    )
    reply = worker._run_turn(session, 8, 100.0, 2)
    assert reply.seconds == pytest.approx([5.2] * 20)
    runs, seconds = reply.overlapped
    assert 3.0 <= seconds / runs <= 3.3
    assert [each.copy_in_ms for each in reply.times] == pytest.approx([2000] * 20)
    assert [each.compute_ms for each in reply.times] == pytest.approx([3000] * 20)


def test_emulated_speeds_are_marked_and_have_no_ratio(tmp_path):
    models = {
        "plain": StubOpener(),
        "runs/digits_patch-bf16": StubOpener(is_emulated=True),
        "runs/digits_patch-fp16": StubOpener(),
    }
    found, _ = _run(models, QUICKER)
    assert [model.emulated for model in found.models] == [False, True, False]
    for place, timing in ((place, timing) for place, model in enumerate(found.models) for timing in model.timings):
        assert (timing.ratio is None) == (place == 1)
    lines = list(describe_benchmark(found))
    text = tables(lines)
    rows = [line for line in text.splitlines() if line.startswith("digits_patch-bf16")]
    assert len(rows) == 2
    assert all("emulated" in row for row in rows)
    assert all(re.search(r" –\s+– ", row) for row in rows[1:])
    assert max(map(len, text.splitlines())) <= 80
    assert any(line.startswith("emulated: every tensor is rounded") for line in lines if isinstance(line, str))
    draw_benchmark(found, tmp_path / "bench.svg")
    assert "digits_patch-bf16 (emulated)" in _texts(tmp_path / "bench.svg")
    del models["plain"]
    based, _ = _run(models, QUICKER)
    assert based.baseline == "runs/digits_patch-bf16"
    assert all(timing.ratio is None for model in based.models for timing in model.timings)


def _texts(svg):
    """The texts of a picture, which stand in comments beside their outlines."""
    return re.findall(r"<!-- (.*?) -->", svg.read_text())


def test_a_file_is_timed_as_it_is_served_and_emulated_only_where_nothing_else_runs_it(
    tiny_artifact, tiny_loaded, tmp_path, monkeypatch
):
    from deepvit.export.options import ExportOptions, GraphOptions
    from deepvit.export.pipeline import export_artifact
    from deepvit.runtime.artifact.manifest import Precision

    monkeypatch.setattr(library, "has_bfloat16", lambda: False)  # OpenVINO runs BF16 where the processor has it

    bf16 = GraphOptions(precision=Precision.BF16)
    export_artifact(tiny_loaded, ExportOptions(graph=bf16, output=tmp_path / "bf16"))
    for folder, is_emulated in ((tiny_artifact, False), (tmp_path / "bf16", True)):
        with contextlib.closing(FileOpener(path=folder)()) as session:
            assert session.is_emulated == is_emulated
    with pytest.raises(MissingError, match="has no provider 'nothing'"):
        FileOpener(path=tiny_artifact, provider="nothing")()


def test_other_weights_are_told_and_named_row_by_row(tmp_path):
    subjects = [
        Subject(name="PyTorch eager", opener=StubOpener(), random_weights=True, weights_sha256="1"),
        Subject(name="artifacts/digits_cnn-fp16", opener=StubOpener(), bytes=1_300_000, weights_sha256="0"),
    ]
    found = run_benchmark(subjects, QUICKER, "", lambda *turn: None)
    assert [model.not_compared for model in found.models] == ["the baseline", "other weights"]
    lines = list(describe_benchmark(found))
    (said,) = [line for line in lines if isinstance(line, str) and line.startswith("weights ")]
    assert "digits_cnn-fp16" in said
    assert "peers have other weights; give ‹pretrained› or ‹checkpoint›" in said
    text = tables(lines)
    assert "other weights" in text
    assert "PyTorch eager (random)" in text
    assert "digits_cnn-fp16 (random)" not in text
    assert "on the GPU" not in text
    draw_benchmark(found, tmp_path / "bench.svg")
    texts = _texts(tmp_path / "bench.svg")
    assert {"PyTorch eager (random)", "digits_cnn-fp16"} <= set(texts)
    assert not any("random weights" in each for each in texts)


def test_models_of_one_colour_have_different_markers():
    """The published benchmark has eleven models, for which matplotlib has ten colours."""
    content = json.loads((ROOT / "benchmarks" / "results" / "bench-deepvit_32-cpu.json").read_text())
    del content["script"]
    axes = new_figure((7, 4)).add_subplot()
    draw_speed(axes, Benchmark.model_validate(content))
    looks = {(line.get_color(), line.get_marker()) for line in axes.get_lines()}
    assert len(looks) == len(content["models"]) > len({colour for colour, _ in looks})


def test_names_are_as_short_as_tells_them_apart():
    names = ["runs/a-fp16", "runs/b/model.onnx", "other/c-int8", "runs/c-int8", "PyTorch eager", "d-fp8"]
    expected = ["a-fp16", "b/model.onnx", "other/c-int8", "runs/c-int8", "PyTorch eager", "d-fp8"]
    assert short_names(names) == expected
    assert short_names(["a/x", "a/x"]) == ["x", "x"]


def test_what_fits_in_80_columns_is_not_broken_within_words():
    cells = [("digits_patch-fp16-of-long-name (emulated)", *["1234.56"] * 6), ("short", *["1.0"] * 6)]
    heads = ["model", "p50", "p90", "p99", "images/s", "x", "y"]
    text = rendered([table_of(heads, cells)])
    assert "digits_patch-fp16-of-long-name" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "empty" not in rendered([table_of(["a", "empty"], [("1", ""), ("2", "")])])


def test_the_command_line(tiny_artifact, tmp_path, capsys):
    """The tiny variant is none that peers could be made of."""
    arguments = ["--peers", "none", "--batch-sizes", "1,2", "--rounds", "2", "--turn", "0.01"]
    results = ["--json", str(tmp_path / "bench.json"), "--plot", str(tmp_path / "bench.svg")]
    with pytest.raises(SystemExit) as stopped:
        deepvit.commands.app.main(
            ["bench", str(tiny_artifact), str(tiny_artifact / "model.onnx"), *arguments, *results]
        )
    assert stopped.value.code == 0
    said = capsys.readouterr()
    assert "batch 2, 2 rounds, random weights; latency and CPU in ms per run" in said.out
    assert "random weights" in said.err
    found = json.loads((tmp_path / "bench.json").read_text())
    assert (found["kind"], len(found["models"])) == ("benchmark", 2)
    assert [model["bytes"] for model in found["models"]] == [(tiny_artifact / "model.onnx").stat().st_size] * 2
    drawn = (tmp_path / "bench.svg").read_text()
    assert drawn.lstrip().startswith("<?xml")
    with pytest.raises(InputError, match="cannot be written"):
        draw_benchmark(Benchmark.model_validate(found), tmp_path / "no" / "bench.png")
    for wrong, expected in (
        (["bench", str(tmp_path / "nothing"), *arguments], "does not exist; export it"),
        (["bench", "deepvit_99"], "unknown variant 'deepvit_99'"),
        (["bench", str(tiny_artifact), "--peers", "tvm"], "--peers tvm: expected none, or of pytorch"),
        (["bench", str(tiny_artifact), "--batch-sizes", "1,x"], "--batch-sizes 1,x: expected numbers"),
    ):
        with pytest.raises(SystemExit) as stopped:
            deepvit.commands.app.main(wrong)
        assert (stopped.value.code, expected in capsys.readouterr().err) == (2, True), wrong


def test_a_process_that_is_killed_between_its_turns_is_named():
    """Its pipe is broken then, which must not be taken for that of our own output."""
    with contextlib.closing(BenchmarkWorker("a model", StubOpener())) as worker:
        worker._process.kill()
        worker._process.join()
        with pytest.raises(MissingError, match="a model: its process ended"):
            worker.turn(1, 0.01, 1)


def test_ctrl_c_while_a_model_opens_leaves_no_process(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(BenchmarkWorker, "_reply", interrupted)
    with pytest.raises(KeyboardInterrupt):
        BenchmarkWorker("a model", StubOpener())
    assert multiprocessing.active_children() == []
