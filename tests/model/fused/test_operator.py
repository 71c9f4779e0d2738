"""`deepvit::reattention` on a CPU: the formula, what PyTorch asks of an operator, and a whole model with it."""

import pytest
import torch

from deepvit.model.attention import MixNorm, ReAttention
from deepvit.model.fused import operator
from deepvit.model.fused.module import FusedReAttention, fuse_reattention
from deepvit.model.fused.operator import reattention
from deepvit.model.rewrites.norms import fold_mix_norm

FOLD = 1e-9  # on logits in float64, as of every fold


def arguments(dtype=torch.float64):
    torch.manual_seed(0)
    return torch.randn(2, 7, 3, 4, 8, dtype=dtype), torch.randn(4, 4), torch.randn(4), 0.3


def test_what_pytorch_asks_of_an_operator():
    assert set(torch.library.opcheck(reattention, arguments(torch.float32)).values()) == {"SUCCESS"}


@pytest.mark.parametrize(
    ("dtype", "heads", "width", "is_there"),
    [
        ("float16", 16, 64, True), ("bfloat16", 12, 33, True),
        ("float32", 12, 32, False), ("float16", 17, 32, False), ("float16", 12, 65, False),
    ],
)  # fmt: skip
def test_what_has_a_kernel_and_what_a_formula(monkeypatch, dtype, heads, width, is_there):
    """As a GPU would be asked, with a stand-in for its kernel."""
    called = []
    kernel = "deepvit.model.fused.triton_kernel.reattention_by_triton"
    pytest.importorskip("triton")
    monkeypatch.setattr(kernel, lambda *arguments: called.append("kernel"))
    monkeypatch.setattr(operator, "formula", lambda *arguments: called.append("formula"))
    qkv = torch.empty(1, 2, 3, heads, width, dtype=getattr(torch, dtype))
    operator._on_a_gpu(qkv, torch.empty(heads, heads), torch.empty(heads), 1.0)
    assert called == ["kernel" if is_there else "formula"]


def test_the_operator_is_the_module():
    attention = ReAttention(32, 4, MixNorm.NONE).double().eval()
    x = torch.randn(2, 7, 32, dtype=torch.float64)
    with torch.inference_mode():
        assert torch.allclose(FusedReAttention(attention)(x), attention(x), rtol=0, atol=1e-12)


def test_a_fused_model_is_the_same_function(tiny_model):
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    fused = fuse_reattention(tiny_model)
    assert [type(block.attn).__name__ for block in fused.blocks] == ["Attention", "FusedReAttention"]
    with torch.inference_mode():
        assert (fused(images) - tiny_model.double().eval()(images)).abs().max() <= FOLD


def test_a_mix_that_is_not_folded_is_noticed(tiny_model):
    """What the test above would miss if `fuse_reattention` did not fold."""
    model = tiny_model.double().eval()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with torch.inference_mode():
        expected = model(images)
        model.blocks[1].attn = FusedReAttention(model.blocks[1].attn)
        assert (model(images) - expected).abs().max() > FOLD


def test_torch_compile_keeps_it_whole(tiny_model):
    graphs = []

    def keep(graph, _):
        graphs.append(graph)
        return graph.forward

    fused = fuse_reattention(tiny_model).float()
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        logits = torch.compile(fused, backend=keep, fullgraph=True)(images)
        assert torch.allclose(logits, fused(images), atol=1e-5)
    (graph,) = graphs
    called = [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]
    assert sum("deepvit.reattention" in name for name in called) == 1
    assert sum("softmax" in name for name in called) == 1  # of the block that mixes nothing


def test_folded_twice_is_folded_once(tiny_model):
    once = fuse_reattention(tiny_model)
    assert fold_mix_norm(once).applied == 0
    with pytest.raises(AttributeError):
        _ = once.blocks[1].attn.reatten_matrix
