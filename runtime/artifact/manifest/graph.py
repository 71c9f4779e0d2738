"""What a manifest says of the graph: its network, its folds, its form, and what plain sessions make of it."""

from typing import Annotated, Literal

import pydantic

from .fields import BatchSize, Count, Partial, PositiveInt, Record
from .forms import ChooseForm, Level, MixForm, QkvForm, ReattentionForm


class ArchitectureRecord(Record):
    """What a checkpoint's weights said of their network, and what they do not say: the pooling. For names that are of
    networks of any size.
    """

    depth: PositiveInt
    embed_dim: PositiveInt
    num_heads: PositiveInt
    head_dim: PositiveInt
    mlp_dim: PositiveInt
    patch_size: PositiveInt
    stem: str
    mix_norm: str
    pooling: Literal["cls", "mean"]


class FoldRecord(Record):
    """One exact rewrite: in how many modules, and the largest entries that it wrote."""

    name: str
    applied: Count
    max_abs_weight: float
    max_abs_bias: float


class TriedForm(Partial):
    """A form that the graph could have been written in, and what it would have cost."""

    mix: MixForm
    qkv: QkvForm
    pad_tokens: bool
    pad_head_dim: bool
    mb_per_image: float | None = None  # through memory, estimated: a bound from above
    kernels: Count | None = None
    milliseconds: float | None = None  # of a batch, measured: the median


class TriedForms(Record):
    """The forms among which this one was chosen, the rules' first."""

    by: ChooseForm
    tool: str  # and its version
    where: str  # the GPU that was compiled for, or the machine that it was timed on
    batch: BatchSize
    forms: Annotated[tuple[TriedForm, ...], pydantic.Field(min_length=1)]
    chosen: Count  # which of them it is

    @pydantic.model_validator(mode="after")
    def _is_one_of_them(self) -> "TriedForms":
        if self.chosen >= len(self.forms):
            raise ValueError(f"expected chosen below {len(self.forms)}, got {self.chosen}")
        return self


class GraphForm(Partial):
    """The form that the graph was written in, and what it is made of; None where the manifest does not say."""

    opset: PositiveInt | None = None
    mix: MixForm | None = None
    qkv: QkvForm | None = None
    attention_maps: PositiveInt | None = None  # how many blocks give their maps beside the logits; None: none does
    padded_tokens: PositiveInt | None = None  # how many rows the graph keeps for its tokens; None: no more than tokens
    reattention: ReattentionForm | None = None  # None: as separate operators
    gemms: Count | None = None
    convolutions: Count | None = None
    quantized_gemms: Count | None = None  # None: there are none
    tried: TriedForms | None = None  # None: the rules chose the form, or whoever exported


class PlainSessions(Record):
    """What sessions of ONNX Runtime on a CPU make of model.onnx, told nothing but how far to optimise it."""

    version: str  # of ONNX Runtime
    right: tuple[Level, ...]  # the golden logits come out
    wrong: tuple[Level, ...]  # others do
    refused: tuple[Level, ...]
