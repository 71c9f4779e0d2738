"""The original code's order of operations computes what the reference does."""

import copy

import torch

from deepvit.model.rewrites.original_order import original_style

TOLERANCE = 1e-10  # float64, the same products in another order


def test_the_logits_are_the_references(tiny_model):
    model = tiny_model.double().eval()
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(images)
        rewritten = original_style(copy.deepcopy(model))
        assert (rewritten(images) - expected).abs().max() <= TOLERANCE
        rewritten.blocks[1].attn.attn.reatten_scale += 0.01  # negative control
        assert (rewritten(images) - expected).abs().max() > TOLERANCE
