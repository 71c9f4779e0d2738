"""Padded tokens: the same answer as without them, from real tokens alone."""

import contextlib
import dataclasses

import numpy as np
import onnx
import pytest
import torch

import deepvit.model
from deepvit.calibration.padded_tokens import real_tokens
from deepvit.calibration.ranges import RANGES, read_ranges
from deepvit.export.graph.module import GraphAttention, GraphModule
from deepvit.export.graph.padding import TokenPadding, Tokens, tokens_of
from deepvit.export.options import ExportOptions, GraphOptions, Target
from deepvit.export.pipeline import export_artifact
from deepvit.model.rewrites.fold import ALWAYS, fold
from deepvit.runtime import open_session
from deepvit.runtime.artifact.manifest import Precision
from deepvit.runtime.errors import InputError
from deepvit.runtime.ort.arithmetic import Arithmetic

EXACT = 1e-12
SPEC = GraphOptions().spec
PUBLISHED = [row for row in deepvit.model.VARIANTS.values() if row.is_published]


def _graph(model, padding):
    folded, _ = fold(model, ALWAYS)
    return GraphModule(folded, dataclasses.replace(SPEC, token_padding=padding), None)


def _difference(model, images):
    """How far the logits are from those without padding."""
    with torch.inference_mode():
        graphs = [_graph(model, padding) for padding in (TokenPadding.ALIGNED, TokenPadding.NEVER)]
        padded, plain = (graph(images.double()) for graph in graphs)
    return float((padded - plain).abs().max())


@pytest.fixture
def images():
    return torch.randn((3, 3, 32, 32), generator=torch.Generator().manual_seed(0))


def test_the_logits_are_those_of_real_tokens(tiny_model, images):
    assert _difference(tiny_model, images) <= EXACT


def _unmasked_key(tokens):
    return np.zeros((1, 1, 1, tokens.rows), np.float32)


def _counted_value(tokens):
    return np.ones((1, 1, tokens.rows, 1), np.float32)


@pytest.mark.parametrize(("mask", "planted"), [("key_mask", _unmasked_key), ("value_mask", _counted_value)])
def test_a_mask_left_out_is_seen(tiny_model, images, monkeypatch, mask, planted):
    """A padded key that queries see, and a mean of the values that counts padding."""
    monkeypatch.setattr(Tokens, mask, planted)
    assert _difference(tiny_model, images) > 1e6 * EXACT


def test_a_class_token_elsewhere_is_seen(tiny_model, images, monkeypatch):
    forward = GraphAttention.forward
    monkeypatch.setattr(GraphAttention, "forward", lambda self, x, rows=None: forward(self, x.roll(1, dims=1), rows))
    assert _difference(tiny_model, images) > 1e6 * EXACT


def test_padding_stays_a_copy_of_the_class_token(tiny_model, images):
    graph = _graph(tiny_model, TokenPadding.ALIGNED)
    rows = []
    graph.blocks[0].register_forward_hook(lambda module, inputs, output: rows.append(output))
    with torch.inference_mode():
        graph(images.double())
    (after,) = rows
    assert after.shape[1] == 24
    assert (after[:, 17:] - after[:, :1]).abs().max() <= EXACT


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row.name)
def test_only_what_pays_is_padded(row):
    real = (row.img_size // row.architecture.patch_size) ** 2 + 1
    is_mixed = row.architecture.reattention_blocks > 0
    rows = {197: 200, 577: 584}[real] if is_mixed else real
    assert tokens_of(real, TokenPadding.WORTHWHILE, is_mixed=is_mixed) == Tokens(real, rows)


@pytest.mark.parametrize(
    ("real", "padding", "rows"),
    [
        (26, TokenPadding.WORTHWHILE, 26),  # 32 would be a fifth more of everything
        (26, TokenPadding.ALIGNED, 32),
        (200, TokenPadding.ALIGNED, 200),
        (197, TokenPadding.NEVER, 197),
    ],
)
def test_the_number_of_rows(real, padding, rows):
    assert tokens_of(real, padding, is_mixed=True).rows == rows


@pytest.mark.parametrize("target", [target for target in Target if target in (Target.ONNX, Target.CPU)])
def test_only_engines_have_padded_graphs_unasked(target):
    assert GraphOptions(target=target).spec.token_padding is TokenPadding.NEVER
    assert GraphOptions(target=target, pad_tokens=True).spec.token_padding is TokenPadding.ALIGNED
    assert GraphOptions(pad_tokens=False).spec.token_padding is TokenPadding.NEVER


@pytest.mark.parametrize("precision", list(Precision), ids=lambda precision: precision.value)
def test_an_artifact_says_it_and_answers_the_same(tiny_loaded, tmp_path, precision):
    answers = []
    for is_padded in (False, True):
        graph = GraphOptions(precision=precision, target=Target.ONNX, pad_tokens=is_padded)
        artifact = export_artifact(tiny_loaded, ExportOptions(graph=graph, output=tmp_path / f"{is_padded}"))
        assert artifact.manifest.graph.padded_tokens == (24 if is_padded else None)
        assert real_tokens(onnx.load_from_string(artifact.read("model.onnx")).graph) == (17 if is_padded else None)
        images = artifact.manifest.golden_input
        with contextlib.closing(open_session(artifact.folder, arithmetic=Arithmetic.AS_DECLARED)) as session:
            answers.append(session.run(np.concatenate([images, images[..., ::-1]])))
    plain, padded = answers
    assert np.abs(plain - padded).max() <= (1e-5 if precision is Precision.FP32 else 0.02 * np.abs(plain).max())


def test_the_ranges_of_a_calibration_are_those_of_real_tokens(tiny_loaded, tmp_path):
    ranges = []
    for is_padded in (False, True):
        graph = GraphOptions(precision=Precision.INT8, target=Target.ONNX, pad_tokens=is_padded)
        artifact = export_artifact(tiny_loaded, ExportOptions(graph=graph, output=tmp_path / f"{is_padded}"))
        ranges.append(read_ranges(artifact.folder / RANGES))
    plain, padded = ranges
    assert plain.tensors.keys() == padded.tensors.keys()
    for name, tensor in plain.tensors.items():
        assert padded.tensors[name].high == pytest.approx(tensor.high, rel=1e-3), name
    for name, means in plain.means.items():
        assert padded.means[name] == pytest.approx(means, abs=1e-4), name


def test_activations_are_those_of_real_tokens(tiny_loaded, tmp_path):
    """Also the largest activations, where a masked score would hide all others."""
    ranges = []
    for is_padded in (False, True):
        graph = GraphOptions(precision=Precision.FP16, target=Target.ONNX, pad_tokens=is_padded)
        artifact = export_artifact(tiny_loaded, ExportOptions(graph=graph, output=tmp_path / f"{is_padded}"))
        ranges.append(artifact.manifest.largest_activation)
    assert ranges[0].keys() == ranges[1].keys()
    assert list(ranges[0].values()) == pytest.approx(list(ranges[1].values()), rel=1e-5)


def test_maps_are_never_padded():
    from deepvit.export.graph.spec import Outputs

    assert GraphOptions(outputs=Outputs.MAPS).spec.token_padding is TokenPadding.NEVER
    with pytest.raises(InputError, match="would pad the maps too"):
        GraphOptions(outputs=Outputs.MAPS, pad_tokens=True)
