"""The parts of a manifest: what was written, from what, how well it was proved, and which engines there are."""

from typing import Annotated, Any, Literal

import pydantic
import pydantic_core

from .fields import LARGEST_INT, BatchSize, Count, FileName, Partial, PositiveInt, Record, Sha256
from .forms import Backend, ChooseForm, Grid, HardwareCompatibility, Level, MixForm, QkvForm, ReattentionForm, Split


class Interval(pydantic.BaseModel):
    """A 95% confidence interval of a fraction."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    low: float
    high: float


class BatchRange(Record):
    """Batch sizes that the artifact takes, and the one that engines are tuned for."""

    min: BatchSize
    opt: BatchSize
    max: BatchSize

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> "BatchRange":
        if not self.min <= self.opt <= self.max:
            raise ValueError(f"expected min ≤ opt ≤ max, got {self}")
        return self

    def __str__(self) -> str:
        return f"{self.min}:{self.opt}:{self.max}"

    @property
    def steps(self) -> list[int]:
        """The few sizes that stand for all, each for those down to the one before: powers of two, `opt` and `max`.

        The C++ runtime has the same rule (cpp/src/artifact/manifest.cpp); cpp/tests/data/batch_rows_cases.json holds
        both to it.

        What is made for a size, a CUDA graph or kernels, is so made a handful of times, whatever sizes come.
        """
        powers = (1 << power for power in range(self.max.bit_length()))
        return sorted({size for size in powers if self.min <= size} | {self.opt, self.max})


ANY_BATCH = BatchRange(min=1, opt=8, max=64)  # where no manifest says otherwise


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


class ParityStage(Record):
    """One rung of the parity ladder: how far `stage` is from `against` on so many images."""

    stage: str
    against: str
    max_abs: float
    sqnr_db: float | None  # None: no difference at all
    top1_agreement: float  # in [0, 1]
    top1_interval: Interval | None = None  # Wilson's, in [0, 1]; None: exported before there was one
    images: PositiveInt
    top1_enforced: bool = True  # False with random weights, whose top-1 is decided by rounding


class AccuracyCheck(Record):
    """What quantisation cost on images that had no part in it, against the float32 graph, as fractions of them."""

    unit: Literal["fraction"]  # a record without it is an earlier version's, in percent and points: see `_from_percent`
    images: PositiveInt
    list_sha256: Sha256
    split: Split
    agreement: float
    agreement_interval: Interval
    reference_top1: float | None = None  # these are None without labels
    top1: float | None = None
    drop: float | None = None
    drop_interval: Interval | None = None
    mcnemar_p: float | None = None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _from_percent(cls, value: object) -> object:
        return {"unit": "fraction"} | _as_fractions(value) if isinstance(value, dict) and "unit" not in value else value


def _as_fractions(percents: dict[str, Any]) -> dict[str, Any]:
    """Return a check in percent and points as fractions; what is no number is left to the validation that follows."""
    exact = ("images", "mcnemar_p")
    return {name: part if name in exact else _as_fraction(part) for name, part in percents.items()}


def _as_fraction(value: Any) -> Any:
    if isinstance(value, dict):
        return _as_fractions(value)
    return value / 100 if isinstance(value, int | float) and not isinstance(value, bool) else value


class BudgetProof(Record):
    """Whether the interval of the check is within the budget, as the measured value is."""

    is_shown: bool
    is_demanded: bool  # else the measured value was enough
    images_needed: PositiveInt | None = None  # to show it at the rates that were measured; None: no number would


class Calibration(Record):
    """What quantisation ranges came from, what was left out of it, and what it cost."""

    method: str | None = None  # this and what came of images is None where weights alone are quantised
    images: PositiveInt | None = None
    list_sha256: Sha256 | None = None
    ranges_sha256: Sha256 | None = None
    grid: Grid
    split: Split | None = None
    seed: Annotated[int, pydantic.Field(ge=-LARGEST_INT, le=LARGEST_INT)] | None = None
    replaced: tuple[str, ...] = ()  # images that could not be decoded
    rescaled: Count = 0  # sites where activations were rescaled into weights
    weight_only: bool = False
    attention: bool = False
    budget: str | None = None  # "max-drop 0.3"
    budget_proof: BudgetProof | None = None
    kept: tuple[str, ...] = ()  # linears that stay in the graph's own precision: "blocks.3.mlp.fc2"
    check: AccuracyCheck | None = None  # None: nothing held out, or random weights

    @pydantic.model_validator(mode="after")
    def _measured(self) -> "Calibration":
        measured = (self.method, self.images, self.list_sha256, self.ranges_sha256, self.split, self.seed)
        if None in measured and (not self.weight_only or measured.count(None) < len(measured)):
            raise ValueError("expected method, images, list_sha256, ranges_sha256, split and seed, or weight_only")
        return self


class Census(Record):
    """How many layers of which type and data type: "MATRIX_MULTIPLY HALF": 225."""

    network: dict[str, Count]  # as parsed, before the build
    engine: dict[str, Count] | None = None  # as built; None where neither an inspector nor the library's log told
    gemms_attributed: Count | None = None  # how many of the network's GEMMs and convolutions its layers name


class BuildLimits(Partial):
    """What bounded the search for an engine's kernels; None where the library's default did."""

    workspace_bytes: PositiveInt | None = None  # of scratch memory that a layer may take
    optimization_level: Count | None = None  # 0 builds fastest, 5 searches longest


class EnginePlugin(Record):
    """The plugin's library that an engine was built with; which of it has to match, `kernels/plugin_record.py` says."""

    sha256: Sha256
    kernels_sha256: Sha256  # of the kernels inside, whichever library they are in
    layer: str  # "deepvit::ReAttention/1"


class Engine(Record):
    """One engine, where it can run, and what is in it."""

    file: FileName
    backend: Backend
    version: Annotated[str, pydantic.Field(pattern=r"^[0-9]+(\.[0-9]+)+", max_length=100)]
    compute_capability: Annotated[str, pydantic.Field(pattern=r"^[0-9]+\.[0-9](,[0-9]+\.[0-9])*$", max_length=100)]
    gpu: str | None  # the GPU that it was tuned on; None where it was built without one
    driver: str | None
    profile: BatchRange
    census: Census
    hardware_compatible: HardwareCompatibility = HardwareCompatibility.NONE
    version_compatible: bool = False  # loads in later TensorRT versions, see trt/fit.py, by host code in the plan
    weight_stripped: bool = False  # its weights come from model.onnx when it is loaded
    options: BuildLimits = BuildLimits()
    plugin: EnginePlugin | None = None  # None: it needs none; then its JSON has no such field either

    @pydantic.model_serializer(mode="wrap")
    def _without_no_plugin(self, write: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in write(self).items() if name != "plugin" or value is not None}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: pydantic_core.CoreSchema, handler: pydantic.GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Its fields, as if none could be left out."""
        fields: Any = {name: part for name, part in core.items() if name != "serialization"}
        return handler(fields)


class FileRecord(Record):
    """Size and hash of one file of the artifact."""

    bytes: Count
    sha256: Sha256
