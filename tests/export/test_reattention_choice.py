"""`--reattention auto`: fused for engines that are built here with a plugin that fits them, else as ever."""

import dataclasses
import json
import shutil

import pytest

from deepvit.calibration.options import QuantizationOptions
from deepvit.export.engine.choice import choose_engines
from deepvit.export.graph.spec import Outputs
from deepvit.export.options import ExportOptions, GraphOptions, Reattention, Target
from deepvit.export.plan import ModelShape
from deepvit.export.reattention import choose_reattention
from deepvit.model import VARIANTS
from deepvit.runtime.artifact import open_artifact
from deepvit.runtime.artifact.manifest import Backend, ChooseForm, MixForm, Precision, ReattentionForm
from deepvit.runtime.errors import MissingError
from deepvit.runtime.kernels.plugin_record import NO_PLUGIN, VARIABLE
from deepvit.runtime.trt.machine import Machine
from tests.commands.command_line import run, without_gpu
from tests.doubles.fake_gpu import HERE
from tests.places import ROOT
from tests.runtime.kernels.named_plugin import write_plugin

BOTH = {Backend.TENSORRT: "11.4.0.106", Backend.TENSORRT_RTX: "1.7.1.116"}
STAND_IN = ROOT / "build/cpp/plugin/tests/libstand_in_reattention.so"  # with kernels in name only


def shape_of(name, img_size=None):
    row = VARIANTS[name]
    return ModelShape(
        variant=row, img_size=img_size or row.img_size, channels=3, classes=10, is_random=True, parameters=1
    )


SHAPE = shape_of("deepvit_32")


def chosen(graph=None, machine=HERE, shape=SHAPE, **options):
    options = ExportOptions(graph=graph or GraphOptions(), **options)
    engines = choose_engines(options.graph.target, (), machine, options.graph.reattention_form)
    options, line = choose_reattention(options, engines, machine, shape)
    assert "\n" not in line
    return options.graph.reattention_form.value, line


@pytest.fixture
def named(tmp_path, monkeypatch):
    """A function: how the record of the named plugin differs from one that fits."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "libplugin.so"))
    write_plugin(tmp_path)
    return lambda **changes: write_plugin(tmp_path, **changes)


def test_nothing_is_said_or_changed_where_nothing_names_a_plugin(monkeypatch):
    for value in ("", None):
        monkeypatch.delenv(VARIABLE, raising=False) if value is None else monkeypatch.setenv(VARIABLE, value)
        assert chosen() == ("unfused", "")
    default, unfused = GraphOptions(), GraphOptions(reattention=Reattention.UNFUSED)
    assert default.reattention is Reattention.AUTO
    assert (default.spec, default.is_fused) == (unfused.spec, False)


def test_it_is_fused_where_the_plugin_fits_the_engines(named):
    form, line = chosen()
    assert form == "fused"
    assert line.startswith("re-attention fused, with the kernels of ")
    assert line.endswith("libplugin.so for tensorrt; ‹reattention› unfused goes without")
    assert chosen(GraphOptions(target=Target.TENSORRT, precision=Precision.INT8))[0] == "fused"


def test_what_was_asked_for_is_not_chosen(named):
    for form in (Reattention.FUSED, Reattention.UNFUSED):
        assert chosen(GraphOptions(reattention=form)) == (form.value, "")


UNFUSED = {
    "fp32": ({"graph": GraphOptions(precision=Precision.FP32)}, "the kernel takes FP16 and BF16"),
    "cpu": ({"graph": GraphOptions(target=Target.CPU)}, "is for NVIDIA GPUs"),
    "onnx": ({"graph": GraphOptions(target=Target.ONNX)}, "no TensorRT engine is built here"),
    "maps": ({"graph": GraphOptions(target=Target.ONNX, outputs=Outputs.MAPS)}, "never has whole maps"),
    "mix": ({"graph": GraphOptions(mix=MixForm.CONV)}, "‹mix› and ‹qkv› split are for unfused"),
    "choose": ({"graph": GraphOptions(choose_form=ChooseForm.LISTING)}, "‹choose_form› has nothing to choose"),
    "attention": (
        {"graph": GraphOptions(precision=Precision.FP8), "quantization": QuantizationOptions(attention=True)},
        "has no products to quantise",
    ),
    "another model": ({"shape": shape_of("vit_16")}, "vit_16 does not mix its maps"),
    "another size": ({"shape": shape_of("deepvit_32", 288)}, "it has no kernel for 12 heads of width 32 over 325 tokens"),
    "no GPU": ({"machine": Machine(why_no_gpu="none", versions=BOTH)}, "no TensorRT engine is built here"),
    "another GPU": ({"machine": dataclasses.replace(HERE, compute_capability="7.5")}, "not 7.5"),
    "the other TensorRT too": (
        {"machine": dataclasses.replace(HERE, versions=BOTH)},
        "TENSORRT_INCLUDE=DIR; ‹target› tensorrt alone can have it",
    ),
    "another version": ({"machine": dataclasses.replace(HERE, versions={Backend.TENSORRT: "10.12.0.36"})}, "is tensorrt 10"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "why"), UNFUSED.values(), ids=UNFUSED)
def test_else_it_is_unfused_and_a_line_says_why(named, given, why):
    form, line = chosen(**given)
    assert form == "unfused"
    assert line.startswith("re-attention unfused, though DEEPVIT_PLUGIN names a plugin: ")
    assert why in line


def test_a_plugin_that_is_not_what_it_says_is_not_taken(named):
    path = named(sha256="1" * 64)
    form, line = chosen()
    assert (form, "has SHA-256" in line) == ("unfused", True)
    path.unlink()
    assert "libplugin.so cannot be read" in chosen()[1]


def test_an_engine_of_a_fused_graph_is_not_begun_without_its_plugin(named, monkeypatch):
    fused = ReattentionForm.FUSED
    both = dataclasses.replace(HERE, versions=BOTH)
    choice = choose_engines(Target.AUTO, (), both, fused)
    assert [each.backend for each in choice.build] == [Backend.TENSORRT]
    assert "is for tensorrt 11, here is tensorrt-rtx 1" in choice.skipped[0]
    with pytest.raises(
        MissingError, match="‹target› tensorrt-rtx cannot be built here: .* is for tensorrt 11, here is"
    ):
        choose_engines(Target.TENSORRT_RTX, (), both, fused)
    monkeypatch.delenv(VARIABLE)
    assert choose_engines(Target.AUTO, (), both, fused).skipped == (NO_PLUGIN,)
    with pytest.raises(
        MissingError, match="‹target› tensorrt cannot be built here: fused re-attention needs its plugin"
    ):
        choose_engines(Target.TENSORRT, (), both, fused)


@without_gpu
@pytest.mark.skipif(not STAND_IN.exists(), reason="the C++ runtime was built without TensorRT's headers")
def test_an_export_with_a_plugin_at_hand_takes_it_without_a_word(tmp_path, monkeypatch):
    """The library itself, its code compiled for TensorRT, in TensorRT-RTX, whose plugins have the same interface."""
    library = shutil.copy(STAND_IN, tmp_path / "libplugin.so")
    record = json.loads(STAND_IN.with_suffix(".json").read_text())
    library.with_suffix(".json").write_text(json.dumps(record | {"backend": "tensorrt-rtx", "backend_major": 1}))
    monkeypatch.setenv(VARIABLE, str(library))
    target = [
        "--target",
        "tensorrt-rtx",
        "--compute-capability",
        "8.9",
        "--parity-images",
        2,
        "--output",
        tmp_path / "a",
    ]
    planned = run("export", "digits_patch", *target, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert f"re-attention fused, with the kernels of {library} for tensorrt-rtx" in planned.stdout
    done = run("export", "digits_patch", *target)
    assert done.returncode == 0, done.stderr
    assert f"re-attention fused, with the kernels of {library} for tensorrt-rtx; --reattention unfused" in done.stdout
    built_with = f"built with the plugin deepvit::ReAttention/1, kernels of SHA-256 {record['kernels_sha256']}"
    assert built_with in done.stdout
    manifest = open_artifact(tmp_path / "a").manifest
    (engine,) = manifest.engines
    assert manifest.graph.reattention is ReattentionForm.FUSED
    assert (engine.plugin.sha256, engine.plugin.layer) == (record["sha256"], "deepvit::ReAttention/1")
    assert engine.census.network["PLUGIN_V3 HALF"] == VARIANTS["digits_patch"].architecture.reattention_blocks
    assert built_with in run("inspect", tmp_path / "a").stdout
    monkeypatch.delenv(VARIABLE)
    assert "fused re-attention needs its plugin" in run("build", tmp_path / "a", *target[:4]).stderr
