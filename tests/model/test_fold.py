"""Every fold fires, is idempotent, keeps the numerics in float64, and refuses what it cannot do."""

import pytest
import torch

import deepvit.model
from deepvit.model.architecture import Stem
from deepvit.model.attention import MixNorm
from deepvit.model.rewrites.fold import ALWAYS, FOLDS, fold
from deepvit.model.rewrites.linears import (
    fold_attention_scale,
    fold_key_bias,
    fold_scale_adjustment,
    fold_value_bias,
    pad_head_dim,
)
from deepvit.model.rewrites.norms import fold_mix_norm, fold_stem_norms
from deepvit.model.weights.random import randomize
from tests.doubles.tiny_models import replace

BOUND = 1e-12  # float64 over two blocks
FIRES = {  # modules rewritten in the tiny models: CNN stem, patch stem
    fold_stem_norms: (2, 0),
    fold_mix_norm: (1, 1),
    fold_scale_adjustment: (4, 0),
    fold_attention_scale: (2, 2),
    fold_key_bias: (2, 2),
    fold_value_bias: (1, 1),  # the block without re-attention; the other needs fold_mix_norm first
    pad_head_dim: (2, 2),
}


def _images(model, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((3, model.in_chans, model.img_size, model.img_size), generator=generator).double() * 2 - 1


@pytest.mark.parametrize("each", FOLDS, ids=lambda f: f.__name__)
def test_fold_alone(each, tiny_model, tiny_variant):
    images = _images(tiny_model)
    folded, (report,) = fold(tiny_model, [each])
    with torch.inference_mode():
        assert (folded(images) - tiny_model.double()(images)).abs().max() <= BOUND
    assert report.applied == FIRES[each][tiny_variant.architecture.stem is not Stem.CNN]
    assert each(folded).applied == 0, "a fold does nothing the second time"


def test_all_folds_and_their_conditioning(tiny_model):
    images = _images(tiny_model)
    folded, reports = fold(tiny_model, FOLDS)
    with torch.inference_mode():
        assert (folded(images) - tiny_model.double()(images)).abs().max() <= BOUND
    mix = next(report for report in reports if report.name == "mix_norm")
    attn = folded.blocks[1].attn
    assert mix.max_abs_weight == float(attn.reatten_matrix.weight.abs().max()) > 0
    assert mix.max_abs_bias == float(attn.reatten_matrix.bias.abs().max()) > 0
    assert next(report for report in reports if report.name == "value_bias").applied == 2
    assert folded.blocks[0].attn.head_dim == 16


def test_no_norm_folds_only_its_scale(tiny_variant):
    model = randomize(deepvit.model.create_deepvit(tiny_variant, mix_norm=MixNorm.NONE))
    assert not any("var_norm" in key for key in model.state_dict())
    folded, reports = fold(model, ALWAYS)
    expected = 1 if tiny_variant.architecture.transform_scale else 0
    assert next(report for report in reports if report.name == "mix_norm").applied == expected
    images = _images(model)
    with torch.inference_mode():
        assert (folded(images) - model.double()(images)).abs().max() <= BOUND


def test_a_wrong_fold_is_seen(tiny_variant):
    """Forgetting ε/a² is the usual mistake."""
    model = randomize(deepvit.model.create_deepvit(replace(tiny_variant, scale_adjustment=0.5)))
    with torch.no_grad():
        model.pos_embed.mul_(1e-3)
        model.patch_embed.proj.weight.mul_(1e-3)
        model.patch_embed.proj.bias.mul_(1e-3)
        model.cls_token.mul_(1e-3)
    folded, _ = fold(model)
    images = _images(model)
    with torch.inference_mode():
        expected = model.double()(images)
        assert (folded(images) - expected).abs().max() <= BOUND
        for block in folded.blocks:
            block.norm1.eps = block.norm2.eps = 1e-6
        assert (folded(images) - expected).abs().max() > 1e-4


def test_training_mode_is_refused(tiny_model):
    with pytest.raises(ValueError, match="evaluation mode"):
        fold(tiny_model.train())


def test_the_original_is_left_alone(tiny_model):
    before = {key: value.clone() for key, value in tiny_model.state_dict().items()}
    fold(tiny_model, FOLDS)
    assert all(torch.equal(before[key], value) for key, value in tiny_model.state_dict().items())
