"""Engines built by TensorRT itself, without a GPU: its own 11.4 bindings on the rig, and TensorRT-RTX as it is."""

import dataclasses
import json
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import deepvit.model
from deepvit.calibration.observe.statistics import probed
from deepvit.calibration.options import QuantizationOptions
from deepvit.calibration.policy import activations_of, find_products
from deepvit.calibration.quantize import quantize_graph
from deepvit.calibration.ranges import Ranges, TensorRange
from deepvit.export.engine.add import add_engine
from deepvit.export.engine.building.process import build_engine
from deepvit.export.engine.building.worker import Job
from deepvit.export.engine.census import census_of, engine_breaches, require_network
from deepvit.export.engine.options import EngineOptions
from deepvit.export.graph.cast import cast_graph
from deepvit.export.graph.onnx_file import count_gemms, finish, to_bytes
from deepvit.export.options import ExportOptions, GraphOptions, Target
from deepvit.export.pipeline import export_artifact
from deepvit.runtime.artifact import open_artifact, record_file
from deepvit.runtime.artifact.manifest import (
    ANY_BATCH,
    Backend,
    BatchRange,
    Grid,
    HardwareCompatibility,
    InputForm,
    MixForm,
    Precision,
    Split,
)
from deepvit.runtime.errors import DeviceError, InputError, MissingError, OutOfBoundsError
from tests.places import ROOT

PUBLISHED = [row.name for row in deepvit.model.VARIANTS.values() if row.is_published]
RTX = EngineOptions(backend=Backend.TENSORRT_RTX, compute_capabilities=("8.9", "12.0"))


class ParsedError(Exception):
    """Ends a build whose network is all that a test wants to see; `args` is its layers."""


def parse(content, require):
    """The network's layers as TensorRT parses them, after `require` saw them; nothing is built, which takes 10 s."""

    def stop(layers):
        require(layers)
        raise ParsedError(layers)

    with pytest.raises(ParsedError) as parsed:
        build(content, on_parsed=stop)
    return parsed.value.args[0]


def build(
    content, options=None, batch=None, timings=None, on_parsed=lambda layers: None, bar=lambda phase, share: None
):
    job = Job(options=options or EngineOptions(), batch=batch or ANY_BATCH, timing_cache=timings, is_run=False)
    return build_engine(content, job, None, bar, on_parsed)


def promise(artifact, model, precision):
    """The manifest of a graph at `precision`, as the export writes it."""
    manifest = open_artifact(artifact).manifest
    graph = manifest.graph.model_copy(update=dataclasses.asdict(count_gemms(model)))
    return manifest.model_copy(update={"precision": precision, "graph": graph})


@pytest.fixture(scope="module")
def tiny_onnx(tiny_artifact):
    return onnx.load(tiny_artifact / "model.onnx")


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16, Precision.BF16], ids=lambda p: p.value)
@pytest.mark.parametrize("name", PUBLISHED)
def test_every_variant_parses_and_passes_the_census(name, precision, variant_onnx, tiny_artifact, on_rig):
    model = onnx.load_from_string(variant_onnx(name))
    if precision is Precision.BF16:
        model.opset_import[0].version = 22  # where Conv takes bfloat16; for these ops nothing else changed
    model = cast_graph(model, precision)
    manifest = promise(tiny_artifact, model, precision)
    census = census_of(parse(to_bytes(model), lambda layers: require_network(layers, manifest)), None).network
    own = {"fp32": "FLOAT", "fp16": "HALF", "bf16": "BF16"}[precision.value]
    depth, mixes = (
        deepvit.model.VARIANTS[name].architecture.depth,
        deepvit.model.VARIANTS[name].architecture.reattention_blocks,
    )
    products = {kind: count for kind, count in census.items() if kind.startswith("MATRIX_MULTIPLY")}
    assert products == {f"MATRIX_MULTIPLY {own}": 6 * depth + mixes + 1}  # qkv, q·k, a·v, proj, fc1, fc2; mix; head


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_variant_builds(name, variant_onnx, tiny_artifact, on_rig):
    model = cast_graph(onnx.load_from_string(variant_onnx(name)), Precision.FP16)
    built = build(to_bytes(model))
    assert engine_breaches(built.layers(), built.network, promise(tiny_artifact, model, Precision.FP16)) == []
    assert built.version == "11.4.0.106"
    assert len(built.plan) > 1e6 * deepvit.model.VARIANTS[name].parameters / 1e6  # at least a byte for each weight


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16], ids=lambda p: p.value)
def test_other_precisions_build(precision, variant_onnx, tiny_artifact, on_rig):
    model = onnx.load_from_string(variant_onnx("deepvit_16"))
    if precision is Precision.BF16:
        model.opset_import[0].version = 22
    model = cast_graph(model, precision)
    built = build(to_bytes(model))
    assert engine_breaches(built.layers(), built.network, promise(tiny_artifact, model, precision)) == []


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.FP8], ids=lambda precision: precision.value)
@pytest.mark.parametrize("name", PUBLISHED)
def test_every_variant_quantised_parses_and_passes_the_census(name, precision, variant_onnx, tiny_artifact, on_rig):
    """Ranges of one image; one linear is kept, as a budget would."""
    model = quantised(name, precision, variant_onnx)
    manifest = promise(tiny_artifact, model, precision)
    network = parse(to_bytes(model), lambda layers: require_network(layers, manifest))
    census = census_of(network, None).network
    depth, mixes = (
        deepvit.model.VARIANTS[name].architecture.depth,
        deepvit.model.VARIANTS[name].architecture.reattention_blocks,
    )
    products = {kind: count for kind, count in census.items() if kind.startswith("MATRIX_MULTIPLY")}
    linears = 4 * depth - 1
    assert products == {
        "MATRIX_MULTIPLY HALF of quantised": linears,
        "MATRIX_MULTIPLY HALF": 6 * depth + mixes + 1 - linears,
    }
    assert census[f"QUANTIZE {'INT8' if precision is Precision.INT8 else 'FP8'}"] == linears
    graph = manifest.graph.model_copy(update={"quantized_gemms": linears + 1})
    wrong = manifest.model_copy(update={"graph": graph})
    with pytest.raises(OutOfBoundsError, match=f"{linears} quantised GEMMs, promised {linears + 1}"):
        require_network(network, wrong)


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.FP8], ids=lambda precision: precision.value)
@pytest.mark.parametrize("name", ["deepvit_16", "deepvit_s"])
def test_quantised_variants_build(name, precision, variant_onnx, tiny_artifact, on_rig):
    model = quantised(name, precision, variant_onnx)
    built = build(to_bytes(model))
    assert engine_breaches(built.layers(), built.network, promise(tiny_artifact, model, precision)) == []


def quantised(name, precision, variant_onnx):
    model = onnx.load_from_string(variant_onnx(name))
    kept = frozenset({"blocks.3.mlp.fc2"})
    return cast_graph(finish(quantize_graph(model, some_ranges(name, model, precision), kept)), Precision.FP16)


MEASURED: dict[str, dict[str, tuple[float, float, int]]] = {}  # variant → tensor → least, largest value, channels


def some_ranges(name, model, precision):
    """Calibrate a variant's graph on one random image, once for both precisions."""
    if name not in MEASURED:
        tensors = list(activations_of(find_products(model)))
        side = deepvit.model.VARIANTS[name].img_size
        images = np.random.default_rng(0).normal(0, 1, (1, 3, side, side)).astype(np.float32)
        seen = probed(model, tensors).run({"images": images})
        MEASURED[name] = {t: (float(seen[t].min()), float(seen[t].max()), seen[t].shape[-1]) for t in tensors}
    measured = MEASURED[name]
    return Ranges(
        graph_sha256="0" * 64, grid=Grid.INT8 if precision is Precision.INT8 else Grid.FP8, method="max", images=1,
        list_sha256="0" * 64, split=Split.BUNDLED, seed=0, attention=False, rescalings={},
        means={tensor: (0.0,) * channels for tensor, (_, _, channels) in measured.items()},
        tensors={t: TensorRange(low=a, high=b, minimum=a, maximum=b, quantiles={}) for t, (a, b, _) in measured.items()},
    )  # fmt: skip


def test_fp8_attention_and_weight_only_pass_the_census_and_build(tiny_loaded, tmp_path, on_rig):
    for name, precision, quantization, promised in (
        ("attention", Precision.FP8, {"attention": True}, 12),
        ("weights", Precision.FP8, {"weight_only": True}, 0),
        ("channels", Precision.INT8, {"weight_only": True}, 0),  # whose scales stand along axis −1
    ):
        options = ExportOptions(
            graph=GraphOptions(precision=precision),
            output=tmp_path / name,
            quantization=QuantizationOptions(**quantization),
        )
        artifact = export_artifact(tiny_loaded, options)
        manifest = artifact.manifest
        assert (manifest.graph.quantized_gemms or 0) == promised
        build(
            artifact.read("model.onnx"), on_parsed=lambda layers, manifest=manifest: require_network(layers, manifest)
        )


def test_another_type_than_promised_is_caught(tiny_loaded, tmp_path, on_rig):
    options = ExportOptions(graph=GraphOptions(precision=Precision.INT8), output=tmp_path / "a")
    artifact = export_artifact(tiny_loaded, options)
    fp8 = artifact.manifest.model_copy(update={"precision": Precision.FP8})
    with pytest.raises(OutOfBoundsError, match=r"QuantizeLinear quantises to INT8, promised fp8"):
        build(artifact.read("model.onnx"), on_parsed=lambda layers: require_network(layers, fp8))


def test_the_rtx_plan_of_deepvit_32_goes_into_an_artifact_and_inspect_shows_it(variant_onnx, tiny_artifact, tmp_path):
    model = cast_graph(onnx.load_from_string(variant_onnx("deepvit_32")), Precision.FP16)
    folder = shutil.copytree(tiny_artifact, tmp_path / "artifact")
    (folder / "model.onnx").write_bytes(to_bytes(model))
    row = deepvit.model.VARIANTS["deepvit_32"]
    tiny = promise(tiny_artifact, model, Precision.FP16)
    manifest = tiny.model_copy(
        update={
            "variant": row.name,
            "classes": row.num_classes,
            "class_names": None,
            "preprocess": row.preprocessing(row.img_size),
            "input": tiny.input.model_copy(update={"shape": (tiny.input.shape[0], 3, row.img_size, row.img_size)}),
            "output": tiny.output.model_copy(update={"shape": (tiny.output.shape[0], row.num_classes)}),
            "golden": None,
            "files": {"model.onnx": record_file(folder / "model.onnx")},
        }
    )
    (folder / "manifest.json").write_text(manifest.to_json())
    artifact = add_engine(folder, RTX, lambda phase, share: None)
    assert artifact.manifest.files["engine.rtx.plan"].bytes > 80e6
    shown = subprocess.run(
        [sys.executable, ROOT / "cli.py", "inspect", folder], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert "network MATRIX_MULTIPLY HALF 225" in lines
    assert "engine engine.rtx.plan: tensorrt-rtx 1.7.1.116, compute capability 8.9,12.0, batch 1:8:64" in lines
    assert not any("MATRIX_MULTIPLY FLOAT" in line for line in lines)


def _with_fp32_gemm(model):
    """One GEMM of an FP16 graph put between casts to FP32."""
    planted = onnx.ModelProto()
    planted.CopyFrom(model)
    nodes = list(planted.graph.node)
    index = next(i for i, node in enumerate(nodes) if node.name == "blocks.1.mlp.fc1/MatMul")
    node = nodes[index]
    before = [helper.make_node("Cast", [name], [f"{name}.wide"], to=TensorProto.FLOAT) for name in node.input]
    after = helper.make_node("Cast", ["wide"], [node.output[0]], to=TensorProto.FLOAT16)
    node.input[:], node.output[0] = [f"{name}.wide" for name in node.input], "wide"
    del planted.graph.node[:], planted.graph.value_info[:]
    planted.graph.node.extend([*nodes[:index], *before, node, after, *nodes[index + 1 :]])
    return planted


def _with_quantization(model, zero_point):
    """The activations of one GEMM quantised and dequantised."""
    planted = onnx.ModelProto()
    planted.CopyFrom(model)
    nodes = list(planted.graph.node)
    index = next(i for i, node in enumerate(nodes) if node.name == "blocks.1.mlp.fc1/MatMul")
    source = nodes[index].input[0]
    planted.graph.initializer.extend([
        numpy_helper.from_array(np.array(0.05, np.float16), "scale"), numpy_helper.from_array(zero_point, "zero_point")
    ])  # fmt: skip
    pair = [
        helper.make_node("QuantizeLinear", [source, "scale", "zero_point"], ["stored"], "planted.quantize"),
        helper.make_node("DequantizeLinear", ["stored", "scale", "zero_point"], ["restored"], "planted.dequantize"),
    ]
    nodes[index].input[0] = "restored"
    del planted.graph.node[:], planted.graph.value_info[:]
    planted.graph.node.extend([*nodes[:index], *pair, *nodes[index:]])
    return planted


def test_a_planted_fp32_gemm_is_caught_by_name(tiny_onnx, tiny_artifact, on_rig):
    manifest = open_artifact(tiny_artifact).manifest
    build(to_bytes(tiny_onnx), on_parsed=lambda layers: require_network(layers, manifest))
    with pytest.raises(
        OutOfBoundsError, match=r"blocks.1.mlp.fc1/MatMul \(MATRIX_MULTIPLY\) computes in FLOAT, expected"
    ):
        build(to_bytes(_with_fp32_gemm(tiny_onnx)), on_parsed=lambda layers: require_network(layers, manifest))


@pytest.mark.parametrize("zero_point", [np.array(128, np.uint8), np.array(3, np.int8)], ids=["uint8", "shifted"])
def test_an_asymmetric_quantization_is_caught_by_name(tiny_onnx, on_rig, zero_point):
    with pytest.raises(InputError, match=r"planted\.(de)?quantize \((Deq|Q)uantizeLinear\): "):
        build(to_bytes(_with_quantization(tiny_onnx, zero_point)))


def test_quantization_that_nobody_promised_is_caught(tiny_onnx, tiny_artifact, on_rig):
    manifest = open_artifact(tiny_artifact).manifest
    built = build(to_bytes(_with_quantization(tiny_onnx, np.array(0, np.int8))))
    (gemm,) = [layer for layer in built.network if layer.name == "blocks.1.mlp.fc1/MatMul"]
    assert "DEQUANTIZE" in gemm.sources
    assert not gemm.is_quantized  # its weights are not
    everything = [dataclasses.replace(gemm, sources=("DEQUANTIZE",) * 2) if x is gemm else x for x in built.network]
    with pytest.raises(OutOfBoundsError, match="1 quantised GEMMs, promised 0"):
        require_network(everything, manifest)


def test_an_unsupported_operator_is_caught_by_name(tiny_onnx, on_rig):
    planted = onnx.ModelProto()
    planted.CopyFrom(tiny_onnx)
    node = next(node for node in planted.graph.node if node.name == "blocks.0.mlp.act/Gelu")
    node.op_type, node.domain = "Wobble", "org.example"
    planted.opset_import.append(helper.make_opsetid("org.example", 1))
    with pytest.raises(InputError, match=r"TensorRT cannot take the graph: blocks.0.mlp.act/Gelu \(Wobble\): "):
        build(to_bytes(planted))


def test_a_damaged_graph_is_one_line(on_rig):
    with pytest.raises(InputError, match="it is damaged or not an ONNX file"):
        build(b"not an ONNX file")
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Nonsense", ["x"], ["y"])], "graph", [value], [])
    with pytest.raises(InputError, match="TensorRT cannot take the graph"):
        build(helper.make_model(graph).SerializeToString())


def test_a_builder_that_dies_is_one_line(tiny_onnx, on_rig, tmp_path, monkeypatch):
    """A crash within TensorRT, and a process that the system kills for its memory."""
    for signal, says in (("SIGSEGV", "crashed with SIGSEGV"), ("SIGKILL", "was killed, most likely because memory")):
        package = tmp_path / signal / "tensorrt"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(f"import os, signal\nos.kill(os.getpid(), signal.{signal})\n")
        monkeypatch.setenv("PYTHONPATH", str(package.parent))
        with pytest.raises(DeviceError, match=says) as caught:
            build(to_bytes(tiny_onnx))
        assert "\n" not in str(caught.value)


def test_no_room_for_the_build_is_one_line(tiny_onnx, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(MissingError, match="the build cannot use .*none.*: No such file.*TMPDIR"):
        build(to_bytes(tiny_onnx), RTX)


def test_what_is_raised_at_parsing_ends_the_build(tiny_onnx, on_rig):
    class StoppedError(Exception):
        pass

    def stop(_layers):
        raise StoppedError

    phases = []
    with pytest.raises(StoppedError):
        build(to_bytes(tiny_onnx), on_parsed=stop, bar=lambda phase, share: phases.append(phase))
    assert phases == ["parsing"]


def test_progress_rises_to_the_end(tiny_onnx, on_rig):
    shares = []
    build(to_bytes(tiny_onnx), bar=lambda phase, share: shares.append(share))
    assert shares == sorted(shares)
    assert len(shares) > 20
    assert (shares[0], shares[-1]) == (0.0, 1.0)


def test_the_timing_cache_is_written_read_and_replaced_when_damaged(tiny_onnx, on_rig, tmp_path, caplog):
    path = tmp_path / "timings" / "gpu.cache"
    build(to_bytes(tiny_onnx), timings=path)
    first = path.read_bytes()
    assert first.startswith(b"deepvit timing cache 1\n")
    build(to_bytes(tiny_onnx), timings=path)
    assert "discarded" not in caplog.text
    for damaged in (first[:-1], first[:30], b"", bytes([first[0] ^ 1]) + first[1:]):
        caplog.clear()
        path.write_bytes(damaged)
        build(to_bytes(tiny_onnx), timings=path)
        assert "is discarded" in caplog.text
        assert path.read_bytes() == first
        assert path.with_name("gpu.cache.discarded").read_bytes() == damaged


CONFIGURE = """
import json, sys
from deepvit.export.engine.building import network as e
from deepvit.export.engine.options import EngineOptions
from deepvit.runtime.artifact.manifest import Backend, BatchRange, HardwareCompatibility
from deepvit.runtime.trt.library import load_library, logger_of
library = load_library(Backend(sys.argv[1])); trt = library.trt; log = logger_of(library)
builder = e.EngineBuilder(library, open(sys.argv[2], "rb").read(), log)
config = builder._builder.create_builder_config()
options = EngineOptions(backend=library.backend, **eval(sys.argv[3]))
e._configure(library, config, options)
if library.backend is Backend.TENSORRT_RTX:
    e._set_compute_capabilities(library, config, options.compute_capabilities)
builder._add_profile(config, BatchRange(min=2, opt=3, max=5))
print(json.dumps({
    "flags": sorted(n for n, f in trt.BuilderFlag.__members__.items() if config.get_flag(f)),
    "workspace": config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE),
    "level": config.builder_optimization_level,
    "hardware": str(config.hardware_compatibility_level).split(".")[-1],
    "profiles": config.num_optimization_profiles,
    "verbosity": str(config.profiling_verbosity).split(".")[-1],
    "capabilities": [str(config.get_compute_capability(i)).split(".")[-1] for i in range(config.num_compute_capabilities)]
    if library.backend is Backend.TENSORRT_RTX else [],
}))
"""


@pytest.mark.parametrize(
    ("backend", "options", "expected"),
    [
        ("tensorrt", {}, {"flags": [], "hardware": "NONE", "profiles": 1, "verbosity": "DETAILED"}),
        ("tensorrt", {"workspace_bytes": 64 << 20, "optimization_level": 5}, {"workspace": 64 << 20, "level": 5}),
        ("tensorrt", {"version_compatible": True}, {"flags": ["VERSION_COMPATIBLE"]}),
        ("tensorrt", {"weight_stripped": True}, {"flags": ["REFIT_IDENTICAL", "STRIP_PLAN"]}),
        ("tensorrt-rtx", {"compute_capabilities": ("8.9", "12.0")}, {"flags": [], "capabilities": ["SM89", "SM120"]}),
    ],
)  # fmt: skip
def test_options_reach_tensorrt(tiny_artifact, on_rig, backend, options, expected):
    result = subprocess.run(
        [sys.executable, "-c", CONFIGURE, backend, tiny_artifact / "model.onnx",
         repr(options)],
        cwd=ROOT, env=on_rig.environment() | {"PYTHONPATH": f"{on_rig.variables['PYTHONPATH']}:{ROOT}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    got = json.loads(result.stdout)
    assert {key: got[key] for key in expected} == expected


def test_an_option_that_the_library_ignores_is_an_error(tiny_onnx, on_rig):
    options = EngineOptions(hardware_compatible=HardwareCompatibility.AMPERE_PLUS)  # TensorRT-RTX has no such level
    with pytest.raises(DeviceError, match="does not build ampere-plus engines here"):
        build(to_bytes(tiny_onnx), options)


@pytest.mark.parametrize("changes", [
    {"input_form": InputForm.UINT8}, {"batch": BatchRange(min=4, opt=4, max=4)}, {"mix": MixForm.CONV}, {"mix": MixForm.MATMUL},
    {"pad_head_dim": False}, {"opset": 18}, {"precision": Precision.BF16, "opset": 23}, {"target": Target.CPU},
], ids=str)  # fmt: skip
def test_every_form_of_the_graph_builds(tiny_loaded, tmp_path, on_rig, changes):
    artifact = export_artifact(tiny_loaded, ExportOptions(graph=GraphOptions(**changes), output=tmp_path / "a"))
    manifest = artifact.manifest
    batch = manifest.batch
    build(artifact.read("model.onnx"), batch=batch, on_parsed=lambda layers: require_network(layers, manifest))


def test_a_profile_beyond_reason_is_refused(tiny_onnx, on_rig):
    fixed = onnx.ModelProto()
    fixed.CopyFrom(tiny_onnx)
    fixed.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4  # the weights take 3 channels
    with pytest.raises((InputError, DeviceError)):
        build(to_bytes(fixed))


def test_tensorrt_rtx_as_it_is(tiny_onnx):
    built = build(to_bytes(tiny_onnx), RTX)
    assert built.version == "1.7.1.116"
    assert len(built.plan) > 100_000
    with pytest.raises(InputError, match="does not build for compute capability 9.0, only for 7.5, 8.0"):
        build(to_bytes(tiny_onnx), dataclasses.replace(RTX, compute_capabilities=("9.0",)))
