"""How the graph of an export is written. Options check themselves; an illegal combination cannot be built."""

import dataclasses
from typing import Annotated, ClassVar

from deepvit.runtime.artifact.manifest import (
    ANY_BATCH,
    BatchRange,
    ChooseForm,
    Grid,
    InputForm,
    MixForm,
    Precision,
    QkvForm,
    ReattentionForm,
)
from deepvit.runtime.errors import InputError
from deepvit.runtime.options import Help

from ..graph.padding import TokenPadding
from ..graph.spec import GraphSpec, Outputs
from .choices import FOR_TENSORRT, MAX_BATCH, QUANTIZED, Reattention, Target, batch_from_text

PRECISION = "Precision"  # the heading
DEFAULT_OPSET = 20
QUANTIZED_OPSET = 19  # the first in which scales may be FP16 and Q/DQ take FP8
FP8_OPSET = 21  # the first in which Transpose takes FP8, where ONNX Runtime quantises before it transposes
BF16_OPSET = 22  # the first in which Conv takes bfloat16
DEFAULT_OPSETS = {Precision.FP8: FP8_OPSET, Precision.BF16: BF16_OPSET}
OPSETS = range(18, 24)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GraphOptions:
    """How the graph is written. `None` means the target's default."""

    heading: ClassVar[str] = "Graph"

    precision: Annotated[
        Precision,
        Help("Compute in FP32.", name="fp32", value=Precision.FP32, heading=PRECISION),
        Help("Compute in FP16; the default.", name="fp16", value=Precision.FP16, heading=PRECISION),
        Help("Compute in BF16.", name="bf16", value=Precision.BF16, heading=PRECISION),
        Help(
            "Compute linears in INT8, calibrated; the rest in FP16.",
            name="int8",
            value=Precision.INT8,
            heading=PRECISION,
        ),
        Help(
            "Compute linears in FP8, calibrated; the rest in FP16.", name="fp8", value=Precision.FP8, heading=PRECISION
        ),
    ] = Precision.FP16
    batch: Annotated[BatchRange, Help("Batch sizes MIN:OPT:MAX.", parse=batch_from_text)] = ANY_BATCH
    target: Annotated[Target, Help("What to write for: auto, onnx, cpu, tensorrt or tensorrt-rtx.")] = Target.AUTO
    opset: Annotated[int | None, Help("ONNX opset; 20 if not given, for FP8 21, for BF16 22.")] = None
    input_form: Annotated[
        InputForm, Help("What the graph takes: float32 (preprocessed) or uint8 (crops).", name="input")
    ] = InputForm.FLOAT32
    mix: Annotated[MixForm | None, Help("How heads are mixed: conv, matmul or matmul-value.")] = None
    qkv: Annotated[
        QkvForm | None, Help("How q, k and v are computed: fused or split; split for int8 and on a CPU if not given.")
    ] = None
    reattention: Annotated[
        Reattention,
        Help(
            "Re-attention: unfused, fused into one operator that the plugin for TensorRT has a kernel for, or auto: "
            "fused for engines that are built here with that plugin."
        ),
    ] = Reattention.AUTO
    pad_head_dim: Annotated[
        bool | None, Help("Pad heads to a multiple of 8 channels; done for TensorRT if not given.")
    ] = None
    pad_tokens: Annotated[
        bool | None, Help("Pad tokens to a multiple of 8; done for TensorRT where it saves copies if not given.")
    ] = None
    choose_form: Annotated[
        ChooseForm,
        Help("Who chooses the form that is not given: rules, listing (compiles, for an engine) or timing (on a CPU)."),
    ] = ChooseForm.RULES
    outputs: Annotated[
        Outputs,
        Help(
            "Give every block's attention maps too, for the command attention.",
            name="attention_maps",
            value=Outputs.MAPS,
        ),
    ] = Outputs.LOGITS

    def __post_init__(self) -> None:
        if self.batch.max > MAX_BATCH:
            raise InputError(f"‹batch› {self.batch}: expected at most {MAX_BATCH}")
        if self.outputs is Outputs.MAPS and self.target in (Target.TENSORRT, Target.TENSORRT_RTX):
            raise InputError("‹attention_maps› is for ONNX Runtime, no engine gives maps; leave ‹target› out")
        if self.outputs is Outputs.MAPS and self.mix is MixForm.MATMUL_VALUE:
            raise InputError("‹mix› matmul-value never has whole maps; with ‹attention_maps› give conv, matmul or none")
        if self.outputs is Outputs.MAPS and self.pad_tokens:
            raise InputError("‹pad_tokens› would pad the maps too; leave it out, or ‹attention_maps›")
        self._require_form_chooser()
        if self.opset is not None and self.opset not in OPSETS:
            raise InputError(f"‹opset› {self.opset}: expected {OPSETS.start} to {OPSETS.stop - 1}")
        if self.precision is Precision.BF16 and self.opset is not None and self.opset < BF16_OPSET:
            raise InputError(f"‹opset› {self.opset}: BF16 needs at least {BF16_OPSET}, where Conv takes bfloat16")
        if self.precision in QUANTIZED and self.opset is not None and self.opset < QUANTIZED_OPSET:
            raise InputError(f"‹opset› {self.opset}: INT8 and FP8 need at least {QUANTIZED_OPSET}, for scales in FP16")
        if self.precision is Precision.FP8 and self.target is Target.CPU:
            raise InputError("‹fp8› ‹target› cpu: no CPU computes in FP8; give ‹int8›, or another target")
        if self.is_fused:
            self._require_fusible()

    def _require_fusible(self) -> None:
        """Refuse what fused re-attention is not for.

        Raises:
            InputError: Such an option, by its name.
        """
        if self.precision is Precision.FP32:
            raise InputError("‹reattention› fused: the kernel takes FP16 and BF16; leave out ‹fp32›, or fused")
        if self.target is Target.CPU:
            raise InputError("‹reattention› fused is for NVIDIA GPUs; with ‹target› cpu leave it out")
        if self.mix is not None or self.qkv is QkvForm.SPLIT:
            raise InputError(
                "‹mix› and ‹qkv› split are for unfused re-attention; leave them or ‹reattention› fused out"
            )
        if self.choose_form is not ChooseForm.RULES:
            raise InputError("‹choose_form› has nothing to choose where ‹reattention› is fused; leave out one of both")
        if self.outputs is Outputs.MAPS:
            raise InputError("‹reattention› fused never has whole maps; with ‹attention_maps› leave it out")

    @property
    def is_fused(self) -> bool:
        return self.reattention is Reattention.FUSED

    @property
    def reattention_form(self) -> ReattentionForm:
        return ReattentionForm.FUSED if self.is_fused else ReattentionForm.UNFUSED

    def _require_form_chooser(self) -> None:
        """Refuse to try forms where what is tried is not what will run."""
        if self.choose_form is ChooseForm.LISTING and self.target not in FOR_TENSORRT:
            raise InputError(f"‹choose_form› listing compiles for engines; ‹target› {self.target.value} has none")
        if self.choose_form is ChooseForm.TIMING and self.target is not Target.CPU:
            raise InputError("‹choose_form› timing times ONNX Runtime on a CPU; give ‹target› cpu too")
        if self.choose_form is not ChooseForm.RULES and self.outputs is Outputs.MAPS:
            raise InputError("‹choose_form› is for graphs that are served; leave it out, or ‹attention_maps›")

    @property
    def rest(self) -> Precision:
        """What the graph computes in where it is not quantised; on a CPU float32, which has no FP16 arithmetic."""
        if self.precision not in QUANTIZED:
            return self.precision
        return Precision.FP32 if self.target is Target.CPU else Precision.FP16

    @property
    def grid(self) -> Grid | None:
        """What activations are quantised to; None where nothing is."""
        if self.precision is Precision.FP8:
            return Grid.FP8
        if self.precision is Precision.INT8:
            return Grid.UINT8 if self.target is Target.CPU else Grid.INT8
        return None

    @property
    def spec(self) -> GraphSpec:
        """How the float32 graph is written: what was asked for, else the target's defaults.

        That of the mix measured fastest in ONNX Runtime on a CPU (benchmarks/); on GPUs it has not been measured.
        """
        has_whole_maps = self.outputs is Outputs.MAPS or self.is_fused
        mix = MixForm.MATMUL if has_whole_maps else MixForm.MATMUL_VALUE
        is_for_gpu = self.target in FOR_TENSORRT or self.is_fused
        return GraphSpec(
            mix=self.mix or mix,
            qkv=self._qkv,
            input_form=self.input_form,
            opset=self.opset or DEFAULT_OPSETS.get(self.precision, DEFAULT_OPSET),
            folds_biases=self.target is Target.CPU,  # there k and v are products of their own, which then need none
            pads_head_dim=is_for_gpu if self.pad_head_dim is None else self.pad_head_dim,
            token_padding=self._token_padding,
            outputs=self.outputs,
            batch=self.batch,
        )

    @property
    def _qkv(self) -> QkvForm:
        """In INT8, whose weights have a scale a channel, TensorRT-RTX splits a fused product again, and widens it.

        Not where fused re-attention reads it whole: there is nothing to split for, and three products would have to be
        copied together.
        """
        if self.qkv is not None:
            return self.qkv
        is_split = self.target is Target.CPU or (self.precision is Precision.INT8 and not self.is_fused)
        return QkvForm.SPLIT if is_split else QkvForm.FUSED

    @property
    def _token_padding(self) -> TokenPadding:
        if self.pad_tokens is not None:
            return TokenPadding.ALIGNED if self.pad_tokens else TokenPadding.NEVER
        is_for_engine = self.target in FOR_TENSORRT and self.outputs is Outputs.LOGITS
        return TokenPadding.WORTHWHILE if is_for_engine else TokenPadding.NEVER
