"""manifest.json: what an artifact is, as one validated record that Python, C++ and Triton read."""

import enum
import json
import pathlib
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from .errors import InputError, first_of, validation_faults
from .preprocess import Crop, Preprocessing, golden_image, model_input, resize_and_crop

Sha256 = Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")]
LARGEST_INT = 2**63 - 1  # what C++ counts with
PositiveInt = Annotated[int, pydantic.Field(ge=1, le=LARGEST_INT)]
Count = Annotated[int, pydantic.Field(ge=0, le=LARGEST_INT)]
# These bound what a hostile manifest makes its readers allocate.
Classes = Annotated[int, pydantic.Field(ge=1, le=1_000_000)]
BatchSize = Annotated[int, pydantic.Field(ge=1, le=65_536)]
Dimension = Annotated[int, pydantic.Field(ge=1, le=2**31 - 1)]
MOST_CHANNELS = 1024
IDENTITY = "deepvit"  # the key of ONNX metadata
GOLDEN_LOGITS = 64  # how many of the golden image's logits a manifest keeps at most
FAULTS_SHOWN = 5
# Of what a graph says of itself, which is a kilobyte, three deep: more is hostile.
MOST_METADATA_BYTES = 64 << 10
MOST_NESTED = 8
LONGEST_SHOWN = 100  # of a value, in characters


class _Record(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Precision(enum.Enum):
    """The type of the graph's arithmetic; of INT8 and FP8 that of the linears, the rest is FP16."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    FP8 = "fp8"


class Grid(enum.Enum):
    """A number format of eight bits that quantised tensors are stored in."""

    INT8 = "int8"  # −127 … 127, zero point 0: the only integers that TensorRT takes
    UINT8 = "uint8"  # 0 … 255 with a zero point: what ONNX Runtime's CPU kernels run fastest
    FP8 = "fp8"  # E4M3: ±448, three bits of mantissa


# How close a session must come to golden logits, which ONNX Runtime computed on a CPU with every tensor rounded to its
# type. Another model is near 0 dB. Of the published models and the digits', the same graph run natively on a CPU came
# within 55 dB in FP16, 38 in INT8 and 48 in FP8, and the same bits in FP32; the rest is for other orders of summation
# and for TF32, in which ONNX Runtime's CUDA provider computes FP32.
GOLDEN_SQNR_DB = {
    Precision.FP32: 45.0,
    Precision.FP16: 35.0,
    Precision.BF16: 20.0,
    Precision.INT8: 20.0,
    Precision.FP8: 15.0,
}


class Split(enum.Enum):
    """Where images of a dataset come from."""

    TRAIN = "train"
    VAL = "val"
    FOLDER = "folder"  # a folder of images that is neither
    BUNDLED = "bundled"  # the photographs that come with the export


class Backend(enum.Enum):
    """Which library builds and runs an engine; the two cannot load each other's plans."""

    TENSORRT = "tensorrt"  # data-centre and RTX cards; builds on the GPU that it builds for
    TENSORRT_RTX = "tensorrt-rtx"  # RTX cards; builds without a GPU, compiles kernels where the plan is loaded

    @property
    def plan(self) -> str:
        """The plan's file name in an artifact."""
        return "engine.plan" if self is Backend.TENSORRT else "engine.rtx.plan"


class MixForm(enum.Enum):
    """How Θ'·A + b' is written in the graph."""

    CONV = "conv"  # 1×1 convolution over heads, as in the original
    MATMUL = "matmul"  # H×H matrix times (H, N·N), then + b'
    MATMUL_VALUE = "matmul-value"  # the same without b'; its share N·b'·mean(v) is added after ·v


class QkvForm(enum.Enum):
    """How q, k and v are computed."""

    FUSED = "fused"  # one GEMM of width 3·C
    SPLIT = "split"  # three GEMMs, which spares the copies that split the fused one


class InputForm(enum.Enum):
    """What the graph takes."""

    FLOAT32 = "float32"  # (B, 3, H, W), preprocessed
    UINT8 = "uint8"  # (B, H, W, 3), resized and cropped; normalised inside the graph


class Interval(pydantic.BaseModel):
    """A 95% confidence interval, in percent or points."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    low: float
    high: float


class Weights(_Record):
    """Where the weights come from; `sha256` is the checkpoint file's, or the random state dict's."""

    source: Literal["checkpoint", "random"]
    sha256: Sha256
    entry: str | None = None  # which entry of the checkpoint: state_dict_ema, state_dict, …
    seed: Annotated[int, pydantic.Field(ge=-LARGEST_INT, le=LARGEST_INT)] | None = None  # of random weights


class Tensor(_Record):
    """One graph input or output; a string in `shape` is a dynamic dimension."""

    name: str
    shape: tuple[Dimension | str, ...]
    dtype: Literal["float32", "uint8"]

    @property
    def channels(self) -> int:
        """How many channels images of this shape have: of float32 (B, C, H, W); pixels (B, H, W, 3) are RGB."""
        channels = self.shape[1]
        return channels if self.dtype == "float32" and isinstance(channels, int) else 3


class BatchRange(_Record):
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


ANY_BATCH = BatchRange(min=1, opt=8, max=64)  # where no manifest says otherwise


class FoldRecord(_Record):
    """One exact rewrite: in how many modules, and the largest entries that it wrote."""

    name: str
    applied: Count
    max_abs_weight: float
    max_abs_bias: float


class _Partial(_Record):
    """A record in whose JSON what is None is left out."""

    @pydantic.model_serializer(mode="wrap")
    def _without_none(self, write: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in write(self).items() if value is not None}


class GraphForm(_Partial):
    """The form that the graph was written in, and what it is made of; None where the manifest does not say."""

    opset: PositiveInt | None = None
    mix: MixForm | None = None
    qkv: QkvForm | None = None
    attention_maps: PositiveInt | None = None  # how many blocks give their maps beside the logits; None: none does
    gemms: Count | None = None
    convolutions: Count | None = None
    quantized_gemms: Count | None = None  # None: there are none


class ParityStage(_Record):
    """One rung of the parity ladder: how far `stage` is from `against` on so many images."""

    stage: str
    against: str
    max_abs: float
    sqnr_db: float | None  # None: no difference at all
    top1_agreement: float  # in [0, 1]
    images: PositiveInt
    top1_enforced: bool = True  # False with random weights, whose top-1 is decided by rounding


class AccuracyCheck(_Record):
    """What quantisation cost on images that had no part in it, against the float32 graph; percent and points."""

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


class Calibration(_Record):
    """What quantisation ranges came from, what was left out of it, and what it cost."""

    method: str
    images: PositiveInt
    list_sha256: Sha256
    ranges_sha256: Sha256
    grid: Grid
    split: Split
    seed: Annotated[int, pydantic.Field(ge=-LARGEST_INT, le=LARGEST_INT)]
    replaced: tuple[str, ...] = ()  # images that could not be decoded
    rescaled: Count = 0  # sites where activations were rescaled into weights
    weight_only: bool = False
    attention: bool = False
    budget: str | None = None  # "max-drop 0.3"
    kept: tuple[str, ...] = ()  # linears that stay in the graph's own precision: "blocks.3.mlp.fc2"
    check: AccuracyCheck | None = None  # None: nothing held out, or random weights


class HardwareCompatibility(enum.Enum):
    """On which GPUs an engine runs, as TensorRT's levels have it."""

    NONE = "none"  # those of its compute capability, best the very model
    SAME_COMPUTE_CAPABILITY = "same-compute-capability"  # every model of its compute capability
    AMPERE_PLUS = "ampere-plus"  # compute capability 8.0 and newer


class Census(_Record):
    """How many layers of which type and data type: "MATRIX_MULTIPLY HALF": 225."""

    network: dict[str, Count]  # as parsed, before the build
    engine: dict[str, Count] | None = None  # as built, by the engine inspector; None where no GPU could load it
    gemms_attributed: Count | None = None  # how many of the network's GEMMs and convolutions the inspector names


class BuildLimits(_Partial):
    """What bounded the search for an engine's kernels; None where the library's default did."""

    workspace_bytes: PositiveInt | None = None  # of scratch memory that a layer may take
    optimization_level: Count | None = None  # 0 builds fastest, 5 searches longest


class Engine(_Record):
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
    version_compatible: bool = False  # loads in later TensorRT versions of the same major, by host code in the plan
    weight_stripped: bool = False  # its weights come from model.onnx when it is loaded
    options: BuildLimits = BuildLimits()


class GoldenAnswer(_Record):
    """What the graph answered at export for `Manifest.golden_input`: any session of it must come close."""

    input_sha256: Sha256  # of the input's bytes: preprocessing is exact, on every machine and in C++
    logits: Annotated[tuple[float, ...], pydantic.Field(min_length=1, max_length=GOLDEN_LOGITS)]  # of the first classes
    sqnr_db: float  # how close


class FileRecord(_Record):
    """Size and hash of one file of the artifact."""

    bytes: Count
    sha256: Sha256


class Identity(_Record):
    """What a graph is, and what it takes: said in the manifest, and within the graph by `metadata`."""

    # `schema` itself is taken by pydantic; the JSON says "schema".
    schema_version: int = pydantic.Field(alias="schema", ge=1, le=1)
    variant: str
    classes: Classes
    weights: Weights
    precision: Precision
    input: Tensor
    output: Tensor
    preprocess: Preprocessing

    @property
    def identity(self) -> dict[str, Any]:
        """These fields, of a manifest too, as JSON has them."""
        return self.model_dump(mode="json", by_alias=True, include=set(Identity.model_fields))

    @property
    def metadata(self) -> str:
        """What stands in the ONNX file's metadata under IDENTITY."""
        return json.dumps(self.identity, sort_keys=True, separators=(",", ":"))

    def differences(self, metadata: str) -> list[str]:
        """Return where the identity that a graph has in its metadata is another one, a text for each field."""
        size = len(metadata.encode(errors="surrogatepass"))
        if size > MOST_METADATA_BYTES:
            return [f"the graph says it in {size} bytes, expected at most {MOST_METADATA_BYTES}"]
        try:
            said = json.loads(metadata)
        except RecursionError:
            return [f"the graph says it nested more than {MOST_NESTED} deep"]
        except ValueError:
            return ["the graph says it in no JSON"]
        if _is_deeper(said, MOST_NESTED):
            return [f"the graph says it nested more than {MOST_NESTED} deep"]
        ours, graphs = dict(_leaves(self.identity)), dict(_leaves(said))
        return [
            f"{_shown(json.dumps(name)[1:-1])} is {_shown(json.dumps(ours.get(name)))} by the manifest, "
            f"{_shown(json.dumps(graphs.get(name)))} by the graph"
            for name in sorted(ours.keys() | graphs.keys())
            if ours.get(name) != graphs.get(name)
        ]

    def input_from(self, crops: Crop) -> npt.NDArray[np.float32] | Crop:
        """Return crops (B, H, W, 3) uint8, cut as `preprocess` says, as the graph takes them; see `model_input`."""
        return model_input(crops, self.preprocess, self.input.channels)

    @property
    def golden_input(self) -> npt.NDArray[np.float32] | Crop:
        """The golden image as the graph takes it, one image."""
        return self.input_from(resize_and_crop(golden_image(self.preprocess.crop), self.preprocess)[None])


def _is_deeper(value: object, most: int) -> bool:
    """Return whether lists and objects of JSON are nested more than `most` deep."""
    if not isinstance(value, dict | list):
        return False
    return most == 0 or any(
        _is_deeper(part, most - 1) for part in (value.values() if isinstance(value, dict) else value)
    )


def _shown(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield `preprocess.crop` and its value for everything within a JSON object."""
    if not isinstance(value, dict):
        yield path, value
        return
    for key, part in value.items():
        yield from _leaves(part, f"{path}.{key}" if path else key)


class Manifest(Identity):
    """manifest.json, schema 1."""

    batch: BatchRange
    folds: tuple[FoldRecord, ...]
    graph: GraphForm = GraphForm()
    parity: Annotated[tuple[ParityStage, ...], pydantic.Field(min_length=1)]
    largest_activation: dict[str, float] = {}  # of fp16 and bf16 graphs: tensor → max |x| on the parity images
    calibration: Calibration | None = None
    engines: tuple[Engine, ...] = ()
    files: dict[FileName, FileRecord]
    tools: dict[str, str]
    golden: GoldenAnswer | None = None  # None: exported before there was one

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> "Manifest":
        """What the parts say of one another."""
        faults = [fault for fault in (self._input_fault(), self._output_fault()) if fault]
        if "model.onnx" not in self.files:
            faults.append("files has no model.onnx")
        if self.golden is not None and len(self.golden.logits) != min(self.classes, GOLDEN_LOGITS):
            faults.append(f"golden has {len(self.golden.logits)} logits, expected {min(self.classes, GOLDEN_LOGITS)}")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _input_fault(self) -> str:
        crop, shape, is_pixels = self.preprocess.crop, self.input.shape, self.preprocess.layout == "NHWC"
        channels = shape[1] if len(shape) == 4 and not is_pixels else 3
        expected = (crop, crop, 3) if is_pixels else (channels, crop, crop)
        if shape[1:] != expected or self.input.dtype != ("uint8" if is_pixels else "float32"):
            return f"input is {self.input.dtype} {shape}, which is not what preprocess makes: {crop} × {crop} pixels"
        if not isinstance(channels, int) or channels > MOST_CHANNELS:
            return f"input has {channels} channels, expected a number up to {MOST_CHANNELS}"
        if isinstance(shape[0], int) and (self.batch.min, self.batch.max) != (shape[0], shape[0]):
            return f"input is of {shape[0]} images, batch is {self.batch}"
        return ""

    def _output_fault(self) -> str:
        expected = (self.input.shape[0] if self.input.shape else "batch", self.classes)
        if self.output.shape == expected and self.output.dtype == "float32":
            return ""
        return f"output is {self.output.dtype} {self.output.shape}, expected float32 {expected}"

    @property
    def has_random_weights(self) -> bool:
        return self.weights.source == "random"

    @property
    def input_form(self) -> InputForm:
        return InputForm(self.input.dtype)

    def to_json(self) -> str:
        return self.model_dump_json(by_alias=True, indent=2) + "\n"


def parse_manifest(path: pathlib.Path, text: bytes) -> Manifest:
    """Parse manifest.json, all of its faults as one InputError.

    Nothing is converted, since C++ would not: true is no 1, "44" and 44.0 are no 44. The C++ runtime has the same rules
    (cpp/src/artifact/schema.cpp); cpp/tests/data/manifest_cases.json holds both to them.
    """
    try:
        json.loads(text.decode("utf-8"), object_pairs_hook=_without_duplicates)
        return Manifest.model_validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        shown = first_of(validation_faults(error), FAULTS_SHOWN, "; ")
        raise InputError(f"{path} is not a valid manifest (schema 1): {shown}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a valid manifest (schema 1): {error}; export again") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that stands twice in an object: who reads it may take the first or the last."""
    found = dict(pairs)
    if len(found) != len(pairs):
        for key, _ in pairs:
            if key not in found:
                raise ValueError(f"{_shown(key)} stands there twice")
            del found[key]
    return found
