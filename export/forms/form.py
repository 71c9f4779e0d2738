"""The forms that a graph can be written in, all of the same function."""

import dataclasses
from collections.abc import Callable, Sequence

from deepvit.model.attention import ReAttention
from deepvit.model.network import DeepViT
from deepvit.model.rewrites.linears import HEAD_DIM_MULTIPLE
from deepvit.runtime.artifact.manifest import MixForm, QkvForm

from ..graph.module import tokens_in
from ..graph.padding import ALIGNMENT
from ..options import GraphOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """How the heads are mixed, how q, k and v are computed, and what is padded: the options of an export by name."""

    mix: MixForm
    qkv: QkvForm
    pad_tokens: bool
    pad_head_dim: bool


def form_by_rules(graph: GraphOptions, model: DeepViT) -> Form:
    """Return the form that `graph` asks for, and where it leaves something open, that of the rules."""
    spec = graph.spec
    return Form(
        mix=spec.mix,
        qkv=spec.qkv,
        pad_tokens=tokens_in(model, spec.token_padding).padding > 0,
        pad_head_dim=spec.pads_head_dim and bool(_odd_heads(model)),
    )


def graph_in(form: Form, graph: GraphOptions) -> GraphOptions:
    """Return `graph` with everything asked for that `form` is."""
    return dataclasses.replace(graph, **dataclasses.asdict(form))


def open_choices(graph: GraphOptions, model: DeepViT) -> dict[str, tuple[object, ...]]:
    """Return what of a form `graph` leaves open and makes a difference to the model: option → its values."""
    is_mixed = any(isinstance(block.attn, ReAttention) for block in model.blocks)
    choices: dict[str, tuple[object, ...]] = {}
    if graph.mix is None and is_mixed:
        choices["mix"] = tuple(MixForm)
    if graph.pad_tokens is None and model.pos_embed.shape[1] % ALIGNMENT:
        choices["pad_tokens"] = (False, True)
    if graph.qkv is None:
        choices["qkv"] = tuple(QkvForm)
    if graph.pad_head_dim is None and _odd_heads(model):
        choices["pad_head_dim"] = (False, True)
    return choices


def _odd_heads(model: DeepViT) -> int:
    return int(model.blocks[0].attn.head_dim) % HEAD_DIM_MULTIPLE  # type: ignore[union-attr, arg-type]


def search(first: Form, choices: dict[str, tuple[object, ...]], best_of: Callable[[Sequence[Form]], Form]) -> Form:
    """Return the best form, found choice by choice: every value of one, all else as it is best so far.

    Args:
        first: Where the search begins.
        choices: What may be changed.
        best_of: Returns the best of some forms, of equals the first.
    """
    best = first
    for name, values in choices.items():
        others = [dataclasses.replace(best, **{name: value}) for value in values if value != getattr(best, name)]  # type: ignore[arg-type]
        best = best_of([best, *others])
    return best
