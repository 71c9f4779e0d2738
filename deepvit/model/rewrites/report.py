"""What a fold is and reports, and the modules that folds go through."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import torch

from ..attention import Attention
from ..network import Block, DeepViT


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoldReport:
    """What one fold did. FP16 stores 11 significant bits up to 65504, so large entries cost precision there."""

    name: str
    applied: int  # modules that were rewritten; 0 where there was nothing to do
    max_abs_weight: float = 0.0  # the largest |entry| that the fold wrote: |Θ'| for the mix
    max_abs_bias: float = 0.0  # likewise |b'|


Fold = Callable[[DeepViT], FoldReport]


def blocks_of(model: DeepViT) -> Iterator[Block]:
    for block in model.blocks:
        assert isinstance(block, Block)
        yield block


def attentions_of(model: DeepViT) -> Iterator[Attention]:
    return (block.attn for block in blocks_of(model))


def report_of(name: str, pairs: Sequence[tuple[torch.Tensor, torch.Tensor | None]]) -> FoldReport:
    """Report the weights and biases that a fold has written."""
    return FoldReport(
        name=name,
        applied=len(pairs),
        max_abs_weight=max((float(weight.abs().max()) for weight, _ in pairs), default=0.0),
        max_abs_bias=max((float(bias.abs().max()) for _, bias in pairs if bias is not None), default=0.0),
    )
