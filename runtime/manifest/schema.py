"""manifest.json, schema 1, and how it is parsed."""

import json
import pathlib
from typing import Annotated, Any

import pydantic

from ..errors import InputError, first_of, validation_faults
from .fields import MOST_CHANNELS, FileName
from .forms import InputForm
from .golden import GOLDEN_LOGITS, GoldenAnswer
from .identity import Identity, cut
from .records import BatchRange, Calibration, Engine, FileRecord, FoldRecord, GraphForm, ParityStage

FAULTS_SHOWN = 5


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
                raise ValueError(f"{cut(key)} stands there twice")
            del found[key]
    return found
