"""Statistics, ranges and the Q/DQ graph that is made of them."""

import collections
import dataclasses
import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

from deepvit.calibration.budget.switchable import SwitchableModel
from deepvit.calibration.observe.equalization import Equalization
from deepvit.calibration.observe.passes import graph_sha256
from deepvit.calibration.observe.statistics import SAMPLED_ROWS, ImageFeed, measure_channels, measure_histograms, probed
from deepvit.calibration.onnxruntime_products import fuse_products
from deepvit.calibration.policy import activations_of, find_products, shifted_activations, units_of
from deepvit.calibration.quantize import count_quantized, quantize_graph, store_weight
from deepvit.calibration.ranges import read_ranges, require_fit
from deepvit.export.graph.cast import cast_graph
from deepvit.export.graph.float32 import graph_module
from deepvit.export.graph.onnx_file import finish, to_bytes
from deepvit.export.graph.proof.logits import graph_session
from deepvit.export.graph.trace import with_weights
from deepvit.export.options import Target
from deepvit.model.rewrites.equalize import equalize
from deepvit.runtime.artifact.manifest import Grid, Precision
from deepvit.runtime.errors import InputError, OutOfBoundsError
from tests.doubles.quantized_model import PLAIN_MAX, calibrated, images_of

SHIFT = Equalization.SHIFT
SHIFTED_BOUND = 1e-5  # float32 rounds what is shifted otherwise; powers of two alone change no bit
KEPT_OPS = ("Conv", "Softmax", "LayerNormalization", "Gelu", "Gemm", "ReduceMean")


@pytest.fixture(scope="module")
def int8(tiny_loaded):
    return calibrated(tiny_loaded)


@pytest.fixture(scope="module")
def rescaled(tiny_loaded):
    return calibrated(tiny_loaded, equalization=Equalization.RESCALE)


@pytest.fixture(scope="module")
def fp8(tiny_loaded):
    return calibrated(tiny_loaded, precision=Precision.FP8, attention=True)


def typed(made, **options):
    return cast_graph(finish(quantize_graph(made.model, made.ranges, **options)), Precision.FP16)


def made_by(model):
    return {name: node for node in model.graph.node for name in node.output}


def test_statistics_are_those_of_all_images_at_once(int8, tiny_loaded):
    source, made = int8
    tensors = list(activations_of(find_products(source.model)))
    feed = ImageFeed(made.images.source, source.preprocessing, 3)
    everything = np.concatenate(list(feed.batches()))
    results = probed(source.model, tensors).run({"images": everything})
    found = measure_channels(source.model, tensors, feed, lambda done, total: None)
    for name in tensors:
        values = results[name].reshape(-1, results[name].shape[-1])
        np.testing.assert_allclose(found[name].low, values.min(axis=0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found[name].high, values.max(axis=0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found[name].mean, values.mean(axis=0), rtol=1e-3, atol=1e-5)
        assert len(found[name].rows) == SAMPLED_ROWS
        assert all((np.abs(values - row).max(axis=1) < 1e-4).any() for row in found[name].rows[:5])
    extremes = {name: (float(s.low.min()), float(s.high.max())) for name, s in found.items()}
    for name, histogram in measure_histograms(source.model, extremes, feed, lambda d, t: None).items():
        assert histogram.counts.sum() == results[name].size


def test_a_non_finite_activation_is_named(int8, tiny_loaded):
    source, made = int8
    planted = onnx.ModelProto()
    planted.CopyFrom(source.model)
    bias = next(i for i in planted.graph.initializer if i.name == "blocks.0.mlp.fc1.bias")
    bias.CopyFrom(numpy_helper.from_array(np.full(bias.dims, np.inf, np.float32), bias.name))
    tensors = list(activations_of(find_products(planted)))
    feed = ImageFeed(made.images.source, source.preprocessing, 3)
    with pytest.raises(
        OutOfBoundsError, match=r"^blocks.0.mlp.act/Gelu.out is not finite on the calibration images 1 to"
    ):
        measure_channels(planted, tensors, feed, lambda done, total: None)


def test_the_ranges_hold_on_the_rescaled_graph(int8):
    source, made = int8
    assert made.ranges.rescalings
    tensors = list(made.ranges.tensors)
    feed = ImageFeed(made.images.source, source.preprocessing, 3)
    for name, statistics in measure_channels(made.model, tensors, feed, lambda d, t: None).items():
        seen = made.ranges.tensors[name]
        assert seen.minimum == pytest.approx(float(statistics.low.min()), rel=1e-5, abs=1e-6)
        assert seen.maximum == pytest.approx(float(statistics.high.max()), rel=1e-5, abs=1e-6)
        np.testing.assert_allclose(made.ranges.means[name], statistics.mean, rtol=1e-3, atol=1e-5)


def test_rescaling_alone_changes_no_bit_of_the_logits(rescaled):
    source, made = rescaled
    assert [stage.stage for stage in made.stages] == ["rescaled-float64"]
    before, after = (graph_session(model, "graph").run(source.images) for model in (source.model, made.model))
    assert np.array_equal(before, after)


@pytest.mark.parametrize("target", [Target.AUTO, Target.CPU])
def test_a_shifted_graph_gives_the_same_logits(int8, tiny_loaded, target):
    """That for a CPU has no biases of k and v, which shifts must not lose."""
    source, made = int8 if target is Target.AUTO else calibrated(tiny_loaded, target=target, equalization=SHIFT)
    assert [stage.stage for stage in made.stages] == ["rescaled-float64"]
    assert any(rescaling.shifts for site, rescaling in made.ranges.rescalings.items() if site.endswith("norm1"))
    before, after = (graph_session(model, "graph").run(source.images) for model in (source.model, made.model))
    np.testing.assert_allclose(before, after, atol=SHIFTED_BOUND)


def test_gelu_is_shifted_on_its_way_to_int8(int8):
    _, made = int8
    model = finish(quantize_graph(made.model, made.ranges, frozenset({"blocks.0.mlp.fc2"})))
    producers = made_by(model)
    assert [node.name for node in model.graph.node if node.op_type == "Sub"] == ["blocks.1.mlp.act/Gelu/Sub"]
    held = producers["blocks.1.mlp.act/Gelu/QuantizeLinear.out"]
    assert producers[held.input[0]].op_type == "Sub"
    changed = {name: tensor for name, tensor in made.ranges.tensors.items() if tensor.shift}
    assert list(changed) == ["blocks.0.mlp.act/Gelu.out", "blocks.1.mlp.act/Gelu.out"]
    for tensor in changed.values():
        assert (
            tensor.shift == float(np.float16(tensor.shift)) == pytest.approx((tensor.low + tensor.high) / 2, rel=1e-3)
        )
        assert 127 * float(tensor.scale(Grid.INT8).step) == pytest.approx((tensor.high - tensor.low) / 2, rel=5e-3)
    assert not shifted_activations(find_products(made.model), Grid.FP8)


def test_weights_are_written_where_they_belong(int8, tiny_loaded):
    source, _ = int8

    def module_of(folded):
        return graph_module(folded, source.spec, source.preprocessing)

    assert to_bytes(with_weights(source.model, module_of(source.folded))) == to_bytes(source.model)
    sites = {"blocks.0.norm1": [3] * tiny_loaded.module.embed_dim}
    changed = with_weights(source.model, module_of(equalize(source.folded, sites)))
    different = {
        a.name for a, b in zip(source.model.graph.initializer, changed.graph.initializer, strict=True) if a != b
    }
    products = {f"blocks.0.attn.{part}.weight_transposed" for part in "qkv"}
    assert different == {"blocks.0.norm1.weight", "blocks.0.norm1.bias", *products}


def test_the_linears_of_each_block_and_nothing_else(int8, tiny_loaded):
    _, made = int8
    model = typed(made)
    depth = len(tiny_loaded.module.blocks)
    assert count_quantized(model) == 6 * depth  # of attention q, k, v and proj
    producers = made_by(model)
    for node in model.graph.node:
        sources = {producers[name].op_type for name in node.input if name in producers}
        if node.op_type in KEPT_OPS or (node.op_type == "MatMul" and node.name.startswith("blocks.0.attn/")):
            assert "DequantizeLinear" not in sources, node.name
    kinds = collections.Counter(node.op_type for node in model.graph.node)
    assert kinds["QuantizeLinear"] == 4 * depth + 1  # the last block's q reads the class token alone
    assert kinds["DequantizeLinear"] == 10 * depth + 1


def test_nothing_stands_between_quantize_dequantize_and_product(int8):
    """And all is typed: INT8 weights with an FP16 scale for each output, FP16 scales of activations, zero points 0."""
    model = typed(int8[1])
    constants = {i.name: i for i in model.graph.initializer}
    producers = made_by(model)
    for node in model.graph.node:
        if node.op_type != "MatMul" or producers.get(node.input[1], node).op_type != "DequantizeLinear":
            continue
        activation, weight = (producers[name] for name in node.input)
        assert activation.op_type == "DequantizeLinear"
        assert producers[activation.input[0]].op_type == "QuantizeLinear"
        assert producers[producers[activation.input[0]].input[0]].op_type != "Cast"
        values = constants[weight.input[0]]
        assert values.data_type == TensorProto.INT8
        for dequantize, shape in ((activation, []), (weight, [values.dims[1]])):
            scale, zero = constants[dequantize.input[1]], constants[dequantize.input[2]]
            assert (scale.data_type, list(scale.dims)) == (TensorProto.FLOAT16, shape)
            assert zero.data_type == TensorProto.INT8
            assert not numpy_helper.to_array(zero).any()
        assert np.abs(numpy_helper.to_array(values).astype(int)).max() <= 127


def test_q_k_and_v_share_one_quantize(tiny_loaded):
    _, made = calibrated(tiny_loaded, target=Target.CPU)
    assert made.ranges.grid is Grid.UINT8
    assert not any(rescaling.shifts for rescaling in made.ranges.rescalings.values())  # the control is above
    model = finish(quantize_graph(made.model, made.ranges))
    producers = made_by(model)
    read = {
        producers[n.input[0]].name for n in model.graph.node if n.name in {f"blocks.0.attn.{x}/MatMul" for x in "qkv"}
    }
    assert len(read) == 1
    zero = next(i for i in model.graph.initializer if i.name == "blocks.0.norm1/LayerNormalization.zero_point")
    assert zero.data_type == TensorProto.UINT8
    assert len(units_of(find_products(made.model))) == 8


def test_products_for_a_cpu_take_their_bias(tiny_loaded):
    _, made = calibrated(tiny_loaded, target=Target.CPU)
    plain = finish(quantize_graph(made.model, made.ranges))
    fused = fuse_products(plain)
    assert count_quantized(fused) == count_quantized(plain) == 12
    kinds = collections.Counter(node.op_type for node in fused.graph.node)
    assert kinds["MatMulIntegerToFloat"] == 12
    assert "DequantizeLinear" not in kinds
    with_bias = {n.name for n in fused.graph.node if n.op_type == "MatMulIntegerToFloat" and len(n.input) == 7}
    assert with_bias == {f"blocks.{b}.{x}/MatMul" for b in (0, 1) for x in ("attn.q", "attn.proj", "mlp.fc2")}
    images = images_of(tiny_loaded)
    one, two = (graph_session(model, "graph").run(images) for model in (plain, fused))
    np.testing.assert_allclose(one, two, atol=1e-5)
    exact = graph_session(made.model, "graph").run(images)
    assert np.abs(exact - two).max() > 1e-3


def test_kept_units_stay_and_weight_only_leaves_activations(int8):
    _, made = int8
    kept = frozenset({"blocks.1.mlp.fc2", "blocks.0.attn.qkv"})
    model = typed(made, float_units=kept)
    assert count_quantized(model) == 8
    plain = {i.name: i.data_type for i in model.graph.initializer}
    assert plain["blocks.1.mlp.fc2.weight_transposed"] == TensorProto.FLOAT16
    assert plain["blocks.1.mlp.fc1.weight_transposed"] == TensorProto.INT8
    only = cast_graph(finish(quantize_graph(made.model, Grid.INT8)), Precision.FP16)
    assert count_quantized(only) == 0
    assert "QuantizeLinear" not in {node.op_type for node in only.graph.node}


def test_fp8_with_attention(fp8, tiny_loaded):
    _, made = fp8
    model = typed(made)
    assert count_quantized(model) == 6 * len(tiny_loaded.module.blocks)
    types = {i.name: i.data_type for i in model.graph.initializer}
    assert types["blocks.0.mlp.fc1.weight_transposed"] == TensorProto.FLOAT8E4M3FN
    mixed = next(name for name in made.ranges.tensors if name.startswith("blocks.1.attn/Reshape"))
    assert made.ranges.tensors[mixed].minimum < 0  # A' is signed: measured, not assumed
    producers = made_by(model)
    mix = next(node for node in model.graph.node if "blocks.1.attn.mix_weight" in node.input)
    assert producers[mix.input[1]].op_type != "DequantizeLinear"


def test_the_class_token_s_attention_stays_where_it_is_plain(fp8):
    model = onnx.ModelProto()
    model.CopyFrom(fp8[1].model)
    attentions = {"blocks.0.attn.qk", "blocks.0.attn.av", "blocks.1.attn.qk", "blocks.1.attn.av"}
    assert attentions < set(units_of(find_products(model, attention=True)))
    (mix,) = (each for each in model.graph.initializer if each.name == "blocks.1.attn.mix_weight")
    mix.name = "another"  # as in a plain ViT, where nothing is mixed
    left = set(units_of(find_products(model, attention=True)))
    assert left & attentions == {"blocks.0.attn.qk", "blocks.0.attn.av"}


def test_correcting_the_bias_keeps_the_mean():
    generator = np.random.default_rng(0)
    weight, bias = generator.normal(0, 1, (40, 8)).astype(np.float32), np.zeros(8, np.float32)
    inputs = generator.normal(3, 1, (5000, 40)).astype(np.float32)
    kept = store_weight(weight, bias, inputs.mean(axis=0, dtype=np.float64), Grid.INT8)
    exact = inputs @ weight
    shift = np.abs((inputs @ kept.restored + kept.bias - exact).mean(axis=0))
    uncorrected = np.abs((inputs @ kept.restored - exact).mean(axis=0))
    assert shift.max() < 0.05 * uncorrected.max()
    shifted = store_weight(weight, bias, inputs.mean(axis=0, dtype=np.float64), Grid.INT8, shift=2.5)
    np.testing.assert_allclose((inputs - 2.5) @ shifted.restored + shifted.bias, exact, atol=0.5)
    assert np.abs(((inputs - 2.5) @ shifted.restored + shifted.bias - exact).mean(axis=0)).max() < 0.01
    assert np.abs(inputs @ shifted.restored + shifted.bias - exact).max() > 5  # the control


@pytest.mark.parametrize("fixture", ["int8", "rescaled", "fp8"])
def test_switches_give_the_float32_and_the_quantised_graph(fixture, request, tiny_loaded):
    _, made = request.getfixturevalue(fixture)
    images = images_of(tiny_loaded)
    model = SwitchableModel(made.model, made.ranges)
    exact = graph_session(made.model, "float32").run(images)
    quantized = graph_session(finish(quantize_graph(made.model, made.ranges)), "quantised").run(images)
    np.testing.assert_allclose(model.run(images), exact, atol=1e-5)
    np.testing.assert_allclose(model.run(images, frozenset(model.units)), quantized, atol=1e-4)
    assert np.abs(exact - quantized).max() > 1e-3
    states = model.states(images, frozenset())
    for unit in model.units:
        np.testing.assert_allclose(model.changed(states, unit, {unit}), model.run(images, {unit}), atol=1e-6)
        assert np.abs(model.run(images, {unit}) - exact).max() > 0


def test_the_same_calibration_gives_the_same_bytes(int8, rescaled, tiny_loaded):
    _, again = calibrated(tiny_loaded)
    assert again.ranges.to_json() == int8[1].ranges.to_json()
    assert to_bytes(typed(again)) == to_bytes(typed(int8[1]))
    _, other = calibrated(tiny_loaded, **PLAIN_MAX)
    assert not other.ranges.rescalings
    assert not any(tensor.shift for made in (other, rescaled[1]) for tensor in made.ranges.tensors.values())
    assert not any(rescaling.shifts for rescaling in rescaled[1].ranges.rescalings.values())
    assert other.stages == ()
    assert len({to_bytes(typed(made)) for made in (other, rescaled[1], int8[1])}) == 3


def test_a_ranges_file_is_read_back_and_refused_elsewhere(int8, tmp_path):
    source, made = int8
    path = tmp_path / "ranges.json"
    path.write_text(made.ranges.to_json())
    ranges = read_ranges(path)
    assert ranges == made.ranges
    fitting = {
        "graph_sha256": graph_sha256(source.model), "grid": Grid.INT8, "method": "mse", "attention": False,
        "tensors": {name: len(means) for name, means in ranges.means.items()},
        "shiftable": frozenset(name for name in ranges.tensors if "Gelu" in name),
    }  # fmt: skip
    require_fit(ranges, **fitting)
    for change, says in (
        ({"graph_sha256": "0" * 64}, "measured on the graph with SHA-256"),
        ({"grid": Grid.FP8}, "measured for int8, expected fp8"),
        ({"method": "max"}, "chosen by mse, expected max"),
        ({"attention": True}, "lack the tensors of attention"),
        ({"shiftable": frozenset()}, "shift blocks.0.mlp.act/Gelu.out, which nothing can make up for"),
        ({"tensors": {"blocks.9.x": 1}}, "lack 1 tensors, the first is blocks.9.x"),
        ({"tensors": {next(iter(ranges.means)): 7}}, "have 18 means of blocks.0.norm1.*, expected 7"),
    ):
        with pytest.raises(InputError, match=says):
            require_fit(ranges, **(fitting | change))


def test_damaged_ranges_files_are_one_line(int8, tmp_path):
    path = tmp_path / "ranges.json"
    text = int8[1].ranges.to_json()
    record = json.loads(text)
    name = next(iter(record["tensors"]))
    damaged = [text[:-20], "", "[]", "{}", text.replace('"schema": 1', '"schema": 2')]
    for change in ({"low": 1e9}, {"low": "x"}, {"minimum": float("nan")}, {"more": 1}):
        other = json.loads(text)
        other["tensors"][name] |= change
        damaged.append(json.dumps(other))
    for content in damaged:
        path.write_text(content)
        with pytest.raises(InputError, match=r"is not a ranges file \(schema 1\)") as caught:
            read_ranges(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="cannot be read"):
        read_ranges(tmp_path / "none.json")


def test_a_scale_that_fp16_cannot_hold_is_refused(int8):
    _, made = int8
    name = next(iter(made.ranges.tensors))
    seen = made.ranges.tensors[name].model_copy(update={"high": 1e8, "maximum": 1e8})
    ranges = made.ranges.model_copy(update={"tensors": {**made.ranges.tensors, name: seen}})
    with pytest.raises(OutOfBoundsError, match=f"{name} reaches 1e.08: its scale does not fit FP16"):
        quantize_graph(made.model, ranges)


def test_a_wrong_rescaling_leaves_nothing(tiny_loaded, monkeypatch):
    import deepvit.export.quantized.calibrated as calibrated_graph

    def wrong(model, sites, shifts):
        changed = equalize(model, sites, shifts)
        with torch.no_grad():
            changed.blocks[0].attn.qkv.weight[0, 0] += 1e-3
        return changed

    monkeypatch.setattr(calibrated_graph, "equalize", wrong)
    with pytest.raises(OutOfBoundsError, match="rescaled-float64 against folded-float64"):
        calibrated(tiny_loaded)


def test_options_check_themselves():
    from deepvit.calibration.options import QuantizationOptions
    from deepvit.export.options import GraphOptions

    for options, says in (
        ({"images": 0}, "expected 1 to"),
        ({"check_images": -1}, "expected 0 to"),
        ({"attention": True, "weight_only": True}, "exclude each other"),
    ):
        with pytest.raises(InputError, match=says):
            QuantizationOptions(**options)
    assert [grid for grid in Grid if QuantizationOptions().equalization_for(grid) is SHIFT] == [Grid.INT8]
    assert all(QuantizationOptions(equalization=SHIFT).equalization_for(grid) is SHIFT for grid in Grid)
    with pytest.raises(InputError, match="need at least 19"):
        GraphOptions(precision=Precision.INT8, opset=18)
    with pytest.raises(InputError, match="no CPU computes in FP8"):
        GraphOptions(precision=Precision.FP8, target=Target.CPU)
    assert dataclasses.replace(GraphOptions(precision=Precision.INT8), target=Target.CPU).rest is Precision.FP32
