"""The accuracy benchmark in small: rows are the product's statistics, a wrong precision shows, forms are what they say."""

import dataclasses
import json

import numpy as np
import onnx
import pytest
from PIL import Image

from benchmarks.accuracy import page
from benchmarks.accuracy.forms import FORMS, PLAIN, Form, Graphs
from benchmarks.accuracy.peers import quantized_by_onnxruntime
from benchmarks.accuracy.subject import INT8, onnxruntime_logits, scored, subject_of
from deepvit.calibration.observe.equalization import Equalization
from deepvit.calibration.observe.statistics import ImageFeed
from deepvit.calibration.options import QuantizationOptions
from deepvit.calibration.quantize import count_quantized, quantize_graph
from deepvit.export.graph.cast import cast_graph
from deepvit.export.graph.onnx_file import finish
from deepvit.metrics.bounds import PRECISION_BOUNDS
from deepvit.metrics.paired import count_pairs, mcnemar_p
from deepvit.runtime.artifact.manifest import Grid, Precision
from deepvit.runtime.ort.arithmetic import Arithmetic
from tests.places import ROOT

FEW = QuantizationOptions(images=8)


@pytest.fixture(scope="module")
def subject(tiny_loaded, tmp_path_factory):
    """The tiny model on a few images of noise."""
    root, rng = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    for split in ("train", "val"):
        for label in range(tiny_loaded.module.num_classes):
            (root / split / str(label)).mkdir(parents=True)
            for number in range(2):
                pixels = rng.integers(0, 256, (40, 40, 3), np.uint8)
                Image.fromarray(pixels).save(root / split / str(label) / f"{number}.png")
    return subject_of(tiny_loaded, str(root))


@pytest.fixture(scope="module")
def graphs(subject):
    return Graphs(subject.loaded, subject.dataset)


def test_a_row_is_what_the_product_says(subject):
    found = scored(subject, subject.logits)
    assert (found["agreement"], found["sqnr_db"], found["lost"], found["mcnemar_p"]) == (1, None, 0, 1)
    turned = subject.logits[:, ::-1].copy()  # planted: every answer is another
    found, counts = scored(subject, turned), count_pairs(turned, subject.logits, subject.labels)
    assert (found["lost"], found["gained"]) == (counts.lost, counts.gained)
    assert found["mcnemar_p"] == mcnemar_p(counts.lost, counts.gained)
    assert found["top1"] == (turned.argmax(1) == subject.labels).mean()  # its own, not PyTorch's
    assert found["agreement"] == counts.agree / counts.images < 1


def test_a_wrong_precision_shows(subject, graphs):
    def sqnr(model):
        logits, _ = onnxruntime_logits(finish(model), subject.images, Arithmetic.AS_DECLARED)
        return scored(subject, logits)["sqnr_db"]

    exact = graphs.float32(INT8).model
    least = PRECISION_BOUNDS[Precision.FP16].sqnr_db
    assert sqnr(cast_graph(exact, Precision.FP16)) > least
    assert sqnr(quantize_graph(exact, Grid.FP8)) < least  # planted: weights of FP8 where FP16 should be


def test_without_help_neither_weights_nor_ranges_are_others_but_biases_are_as_they_were(graphs):
    assert not FORMS[PLAIN].corrects_bias
    unshifted = dataclasses.replace(FEW, equalization=Equalization.RESCALE)  # a shift goes into biases
    found = {
        corrects: graphs.calibrated(Form(graph=INT8, quantization=unshifted, corrects_bias=corrects))
        for corrects in (True, False)
    }
    assert found[True].ranges.tensors == found[False].ranges.tensors
    constants = {corrects: _constants(quantize_graph(each.model, each.ranges)) for corrects, each in found.items()}
    other = {name for name, values in constants[True].items() if not np.array_equal(values, constants[False][name])}
    assert other
    assert all(name.endswith("bias") for name in other)
    plain = _constants(found[False].model)
    assert all(np.array_equal(constants[False][name], plain[name]) for name in other)


def _constants(model):
    return {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}


def test_both_tools_quantise_the_same_products(subject, graphs):
    source, images = graphs.float32(INT8), graphs.inputs(FEW).images
    feed = ImageFeed(images.source, source.preprocessing, 3)
    theirs = quantized_by_onnxruntime(source, feed, "MinMax")
    calibrated = graphs.calibrated(Form(graph=INT8, quantization=FEW))
    ours = count_quantized(quantize_graph(calibrated.model, calibrated.ranges))
    assert count_quantized(theirs) == ours > 0
    kinds = {node.op_type for node in theirs.graph.node} - {node.op_type for node in source.model.graph.node}
    assert kinds == {"QuantizeLinear", "DequantizeLinear"}
    assert len(source.model.graph.node) + 2 * ours < len(theirs.graph.node) + ours  # nothing behind a product


def test_the_page_is_that_of_the_results_and_a_planted_figure_is_seen():
    deepvit, vit = page.results_of(page.DEEPVIT), page.results_of(page.VIT)
    assert page.page_of(deepvit, vit) == page.PAGE.read_text()
    planted = json.loads(json.dumps(deepvit))
    planted["precisions"]["found"]["forms"]["INT8"][page.ONNXRUNTIME]["lost"] += 1
    assert page.page_of(planted, vit) != page.PAGE.read_text()


def test_no_result_has_a_path_of_a_machine():
    for path in (ROOT / "benchmarks" / "results").glob("accuracy-*.json"):
        assert '"/' not in path.read_text(), path
