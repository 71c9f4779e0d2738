"""Exact rewrites of a trained DeepViT: fewer operations, the same function. FOLDS lists them in order.

Every fold is algebra, exact in real numbers for a model in evaluation mode, and is computed in float64. Each changes
the model in place, reports what it touched, and does nothing the second time.
"""

import copy
from collections.abc import Iterable

from ..network import DeepViT
from .linears import fold_attention_scale, fold_key_bias, fold_scale_adjustment, fold_value_bias, pad_head_dim
from .norms import fold_mix_norm, fold_stem_norms
from .report import Fold, FoldReport

FOLDS: tuple[Fold, ...] = (
    fold_stem_norms,
    fold_mix_norm,
    fold_scale_adjustment,
    fold_attention_scale,
    fold_key_bias,
    fold_value_bias,
    pad_head_dim,
)
ALWAYS: tuple[Fold, ...] = FOLDS[:4]  # what every exported graph has; the last three pay on some targets


def fold(model: DeepViT, folds: Iterable[Fold] = ALWAYS) -> tuple[DeepViT, list[FoldReport]]:
    """Return a float64 copy of `model` with `folds` applied in order, and what each did.

    Raises:
        ValueError: The model is in training mode, where BatchNorm does not use its running statistics.
    """
    if model.training:
        raise ValueError("fold needs a model in evaluation mode; call model.eval() first")
    folded = float64_copy(model)
    reports = [apply(folded) for apply in folds]
    return folded, reports


def float64_copy(model: DeepViT) -> DeepViT:
    """Return a copy in float64, in which a rewrite can be told from rounding."""
    return copy.deepcopy(model).double()
