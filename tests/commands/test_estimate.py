"""`inspect --gpu`: an estimate of the most speed on a GPU that is not here, called one wherever it is shown."""

import json
import os

import onnx
import pytest

from deepvit.export.options import ExportOptions, GraphOptions
from deepvit.export.pipeline import export_artifact
from deepvit.measure.results.kinds import schema_text
from deepvit.runtime.artifact.manifest import Precision
from tests.commands.command_line import refused_here, run_anew, valid_result


@pytest.fixture(scope="module")
def shown(tiny_artifact, tmp_path_factory):
    """What the command prints of the tiny artifact, and its JSON, in a Python that has no PyTorch."""
    folder = tmp_path_factory.mktemp("estimate")
    (folder / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n")
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    result = run_anew(
        "inspect", tiny_artifact, "--gpu", "NVIDIA H200", "--json", folder / "found.json",
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "80"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout, valid_result(folder / "found.json")


def test_it_is_called_an_estimate_and_says_what_it_rests_on(shown):
    text, found = shown
    said = " ".join(text[text.index("estimate for H200 SXM") :].split())
    for words in (
        "an estimate, not a measurement: no GPU was asked",
        "Peaks are from data sheets and are never reached",
        "bytes are a bound from above, since caches hold some of them; so the truth may lie on either side",
        "launches: 1 µs a kernel, an assumption",
        "does not compile for 9.0; they are those of 8.9, the nearest below it",
        "4800 GB/s",
        "source: NVIDIA H100 and H200 Tensor Core GPU data sheets; halved where those print sparsity",
    ):
        assert words in said, words
    assert found["kernels"] is None
    estimate = found["estimate"]
    assert (estimate["compute_capability"], estimate["compiled_for"]) == ("9.0", "8.9")
    assert "not a measurement" in estimate["caution"]
    speeds = {name for name in estimate["batches"][0] if "images_per_s" in name or "latency" in name}
    assert speeds == {"estimated_images_per_s", "estimated_latency_ms"}
    assert "no measurement" in json.loads(schema_text("inspection"))["$defs"]["SpeedEstimate"]["description"]
    assert all(len(line) <= 80 for line in text[text.index("estimate for") :].splitlines() if "next:" not in line)


def test_the_rows_follow_from_their_own_numbers(shown):
    """Bounds by the data sheet: 4800 GB/s, 989.5 TFLOP/s in FP16, 1 µs a kernel."""
    text, found = shown
    rows = found["estimate"]["batches"]
    assert [row["batch"] for row in rows] == [1, 8, 32]
    for row in rows:
        batch = row["batch"]
        assert row["products"] == row["products_counted"] > 8
        assert list(row["gflop_per_image"]) == ["fp16"]
        assert row["bytes_ms"] == pytest.approx(batch * row["mb_per_image"] / 4800, rel=1e-4)
        assert row["flops_ms"] == pytest.approx(batch * row["gflop_per_image"]["fp16"] / 989.5, rel=1e-4)
        assert row["launches_ms"] == pytest.approx(row["kernels"] / 1000, rel=1e-4)
        times = {name: row[f"{name}_ms"] for name in ("bytes", "flops", "launches")}
        assert row["pace"] == max(times, key=times.get)
        assert row["estimated_latency_ms"] == max(times.values())
        assert row["estimated_images_per_s"] == pytest.approx(1000 * batch / max(times.values()), rel=1e-4)
        assert f"{row['estimated_images_per_s']:.0f}" in text
    assert len({row["gflop_per_image"]["fp16"] for row in rows}) == 1


def test_one_batch_size_of_a_lone_model_on_a_gpu_that_can_be_compiled_for(tiny_artifact, tmp_path):
    lone = tmp_path / "lone.onnx"
    model = onnx.load(tiny_artifact / "model.onnx")
    del model.metadata_props[:]
    onnx.save(model, lone)
    result = run_anew("inspect", lone, "--gpu", "4090", "--batch", 3, "--json", tmp_path / "found.json")
    assert result.returncode == 0, result.stderr
    found = valid_result(tmp_path / "found.json")["estimate"]
    assert found["compiled_for"] == found["compute_capability"] == "8.9"
    assert [row["batch"] for row in found["batches"]] == [3]
    assert "does not compile for" not in result.stdout


def test_refusals(tiny_artifact, tmp_path, capsys):
    plan = tmp_path / "lone.plan"
    plan.write_bytes(b"a plan")
    for arguments, says in (
        ([tiny_artifact, "--gpu", "v100"], "--gpu v100: no data sheet of it is known here; expected one of t4, a10, "),
        ([tiny_artifact, "--gpu", "h200", "--kernels", "--batch", 8], "give one of them"),
        ([tiny_artifact, "--gpu", "h200", "--compute-capability", "8.9"], "give --kernels too"),
        ([tiny_artifact, "--gpu", "h200", "--batch", 65], "--batch 65: the graph was proved up to 64"),
        ([plan, "--gpu", "h200"], f"--gpu compiles a graph, and {plan} is compiled already"),
    ):
        assert says in refused_here(2, ["inspect", *map(str, arguments)], capsys), arguments


def test_a_precision_that_the_gpu_does_not_multiply(tiny_loaded, tmp_path, capsys, monkeypatch):
    """Said before anything is compiled, where the compiler would say it in words of its own."""
    monkeypatch.setattr("deepvit.export.engine.listing.compile.build_engine", None)
    export_artifact(tiny_loaded, ExportOptions(graph=GraphOptions(precision=Precision.FP8), output=tmp_path / "fp8"))
    line = refused_here(2, ["inspect", str(tmp_path / "fp8"), "--gpu", "a100"], capsys)
    assert "a100 does not multiply fp8" in line
