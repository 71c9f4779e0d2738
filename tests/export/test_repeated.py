"""Blocks that are alike are traced once: the same bytes as when all are traced, and only where they are alike."""

import numpy as np
import onnx
import pytest
import torch

import deepvit.model
from deepvit.export.graph.module import GraphModule
from deepvit.export.graph.onnx_file import to_bytes
from deepvit.export.graph.trace import onnx_from_module, repeated, structure
from deepvit.export.graph.trace.repeated import Run, runs_of
from deepvit.export.options import GraphOptions
from deepvit.model.architecture import Stem
from deepvit.model.rewrites.fold import ALWAYS, fold
from deepvit.model.weights.random import randomize
from deepvit.runtime.artifact.manifest import ANY_BATCH
from tests.doubles.tiny_models import TINY, replace

DEEP = replace(TINY[Stem.PATCH], depth=7, reattention_blocks=4)  # 3 plain, 3 that mix, and the last
PLAIN = replace(DEEP, depth=3, reattention_blocks=0)
RUNS = [Run(0, 2), Run(3, 5), Run(6, 6)]


def _module(variant=DEEP, seed=0):
    model = randomize(deepvit.model.create_deepvit(variant), seed=seed)
    return GraphModule(fold(model, ALWAYS)[0], GraphOptions().spec, None).float()


def _export(module):
    return onnx_from_module(module, torch.zeros((1, 3, 32, 32)), ANY_BATCH, 20)


@pytest.fixture(scope="module")
def module():
    return _module()


def test_runs_of_blocks_that_are_alike(module):
    assert runs_of(module.blocks) == RUNS
    assert [list(run.traced) for run in RUNS] == [[0, 1], [3, 4], [6]]
    assert [list(run.copied) for run in RUNS] == [[2], [5], []]


def _another_norm(block):
    block.norm2.eps = 1e-3


def _no_bias(block):
    block.attn.proj.bias = None


def _another_scale(block):
    block.attn.num_heads, block.attn.head_dim = 1, 2 * block.attn.head_dim


@pytest.mark.parametrize("change", [_another_norm, _no_bias, _another_scale])
def test_a_block_that_differs_is_traced(change):
    module = _module()
    change(module.blocks[1])
    assert runs_of(module.blocks) == [Run(0, 0), Run(1, 1), Run(2, 2), *RUNS[1:]]


def test_the_graph_is_that_of_tracing_every_block(module, monkeypatch):
    blocks = module.blocks
    few = to_bytes(_export(module))
    assert module.blocks is blocks
    structure._KNOWN.clear()
    monkeypatch.setattr(structure, "runs_of", lambda blocks: [Run(index, index) for index, _ in enumerate(blocks)])
    assert to_bytes(_export(module)) == few


def test_weights_that_are_equal_in_what_is_traced_alone_stay_apart(monkeypatch):
    """The exporter makes one constant of them, which in the blocks that are copied would be wrong."""
    module = _module(replace(PLAIN, depth=4))
    with torch.no_grad():
        for block in module.blocks[:2]:
            block.norm1.bias.fill_(0.5)
    state = {name: value.numpy() for name, value in module.state_dict().items()}

    def wrong():
        structure._KNOWN.clear()
        constants = {each.name: onnx.numpy_helper.to_array(each) for each in _export(module).graph.initializer}
        names = [f"blocks.{index}.norm1.bias" for index in range(len(module.blocks))]
        return [name for name in names if name not in constants or not np.array_equal(constants[name], state[name])]

    assert wrong() == []
    monkeypatch.setattr(repeated, "_set_apart", lambda blocks: None)
    assert wrong()


def test_a_structure_is_traced_once_and_takes_any_weights(monkeypatch):
    """The class token and the positions too, whose constants are not named after them."""
    module, other = _module(PLAIN), _module(PLAIN, seed=1)
    one = to_bytes(_export(module))
    with monkeypatch.context() as patch:
        patch.setattr(structure, "_traced", None)
        known = to_bytes(_export(other))
    structure._KNOWN.clear()
    assert known == to_bytes(_export(other)) != one
