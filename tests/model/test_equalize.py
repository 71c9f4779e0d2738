"""Rescalings: exact in float64 and bit for bit in float32, refused where they do not fit. Shifts: exact in float64."""

import numpy as np
import pytest
import torch

from deepvit.model.rewrites.equalize import RESCALINGS, SHIFTS, equalize
from deepvit.model.rewrites.fold import FOLDS, fold

FLOAT64_BOUND = 1e-12


@pytest.fixture(params=[4, 7], ids=["always", "padded"])
def folded(tiny_model, request):
    return fold(tiny_model, FOLDS[:4] if request.param == 4 else FOLDS)[0]


def _sites(model, kind, seed=0):
    """Random exponents at every block that takes `kind`."""
    generator = np.random.default_rng(seed)
    found = {}
    for index, block in enumerate(model.blocks):
        width = {
            "norm1": model.embed_dim, "norm2": model.embed_dim, "attn.v": block.attn.num_heads * block.attn.head_dim,
            "attn.heads": block.attn.num_heads, "attn.qk": block.attn.num_heads,
        }[kind]  # fmt: skip
        if kind != "attn.heads" or hasattr(block.attn, "reatten_matrix"):
            found[f"blocks.{index}.{kind}"] = generator.integers(-7, 8, width).tolist()
    assert found
    return found


def _logits(model, dtype=torch.float64):
    images = torch.from_numpy(np.random.default_rng(1).normal(0, 1, (3, 3, 32, 32))).to(dtype)
    with torch.inference_mode():
        return model.to(dtype)(images)


@pytest.mark.parametrize("kind", list(RESCALINGS))
def test_a_rescaling_fires_and_changes_nothing(folded, kind):
    sites = _sites(folded, kind)
    changed = equalize(folded, sites)
    before, after = folded.state_dict(), changed.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert (_logits(changed) - _logits(folded)).abs().max() <= FLOAT64_BOUND
    assert torch.equal(_logits(changed, torch.float32), _logits(folded, torch.float32))  # powers of two round alike


@pytest.mark.parametrize("kind", list(SHIFTS))
def test_a_shift_fires_and_changes_nothing(folded, kind):
    constants = np.random.default_rng(0).normal(0, 2, folded.embed_dim).tolist()
    has_biases = [bool(part.any()) for part in folded.blocks[1].attn.qkv.bias.chunk(3)]
    changed = equalize(folded, {}, {f"blocks.{index}.{kind}": constants for index in range(len(folded.blocks))})
    for before, after in zip(folded.blocks, changed.blocks, strict=True):
        moved = getattr(before, kind).bias - getattr(after, kind).bias
        torch.testing.assert_close(moved, torch.tensor(constants, dtype=torch.float64))
    assert [bool(part.any()) for part in changed.blocks[1].attn.qkv.bias.chunk(3)] == has_biases
    assert (_logits(changed) - _logits(folded)).abs().max() <= FLOAT64_BOUND
    with torch.no_grad():  # the control: half of it is seen
        getattr(changed.blocks[0], kind).bias.add_(torch.tensor(constants))
    assert (_logits(changed) - _logits(folded)).abs().max() > 1e-6


def test_all_together_and_back_again(folded):
    sites = {
        site: chosen for seed, kind in enumerate(RESCALINGS) for site, chosen in _sites(folded, kind, seed).items()
    }
    changed = equalize(folded, sites)
    assert (_logits(changed) - _logits(folded)).abs().max() <= FLOAT64_BOUND
    restored = equalize(changed, {site: [-e for e in chosen] for site, chosen in sites.items()})
    for name, tensor in folded.state_dict().items():
        assert torch.equal(tensor, restored.state_dict()[name]), name


@pytest.mark.parametrize("kind", list(RESCALINGS))
def test_half_a_rescaling_is_seen(folded, kind):
    """The control: what the test above compares does depend on every one of the weights."""
    site, exponents = next(iter(_sites(folded, kind).items()))
    changed = equalize(folded, {site: exponents})
    block = int(site.split(".")[1])
    attn, mlp = changed.blocks[block].attn, changed.blocks[block].mlp
    other = {
        "norm1": attn.qkv.weight, "norm2": mlp.fc1.weight, "attn.v": attn.proj.weight,
        "attn.heads": attn.qkv.weight, "attn.qk": attn.qkv.weight,
    }[kind]  # fmt: skip
    with torch.no_grad():
        other.mul_(1 + torch.arange(other.numel(), dtype=other.dtype).view_as(other) % 2)
    assert (_logits(changed) - _logits(folded)).abs().max() > 1e-6


def test_what_does_not_fit_is_refused(tiny_model, folded):
    with pytest.raises(ValueError, match="got 3 exponents"):
        equalize(folded, {"blocks.0.norm1": [1, 2, 3]})
    with pytest.raises(ValueError, match="got 3 shifts"):
        equalize(folded, {}, {"blocks.0.norm2": [1, 2, 3]})
    with pytest.raises(ValueError, match="is none of norm1, norm2"):
        equalize(folded, {}, {"blocks.0.attn.v": [1]})
    with pytest.raises(ValueError, match="is none of"):
        equalize(folded, {"blocks.0.mlp.fc2": [1]})
    with pytest.raises(ValueError, match="needs re-attention"):
        equalize(folded, {"blocks.0.attn.heads": [1, 1]})  # the first block has plain attention
    with pytest.raises(ValueError, match="needs re-attention with its norm folded"):
        equalize(tiny_model, {"blocks.1.attn.heads": [1, 1]})
