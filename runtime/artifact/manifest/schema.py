"""manifest.json, schema 1, and how it is parsed."""

import json
import pathlib
from typing import Annotated

import pydantic

from ...errors import InputError, first_of, validation_faults
from .batch import BatchRange
from .engines import Engine
from .fields import FAULTS_SHOWN, FileName, FileRecord, without_duplicates
from .forms import InputForm
from .golden import GOLDEN_LOGITS, GoldenAnswer
from .graph import ArchitectureRecord, FoldRecord, GraphForm, PlainSessions
from .identity import Identity
from .proof import Calibration, ParityStage


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
    plain: PlainSessions | None = None  # likewise
    architecture: ArchitectureRecord | None = None  # None: the variant's name says it

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> "Manifest":
        """What the parts say of one another."""
        faults, fixed = [], self.input.shape[0]
        if isinstance(fixed, int) and (self.batch.min, self.batch.max) != (fixed, fixed):
            faults.append(f"input is of {fixed} images, batch is {self.batch}")
        if "model.onnx" not in self.files:
            faults.append("files has no model.onnx")
        if self.golden is not None and len(self.golden.logits) != min(self.classes, GOLDEN_LOGITS):
            faults.append(f"golden has {len(self.golden.logits)} logits, expected {min(self.classes, GOLDEN_LOGITS)}")
        if faults:
            raise ValueError("; ".join(faults))
        return self

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
        json.loads(text.decode("utf-8"), object_pairs_hook=without_duplicates)
        return Manifest.model_validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        shown = first_of(validation_faults(error), FAULTS_SHOWN, "; ")
        raise InputError(f"{path} is not a valid manifest (schema 1): {shown}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a valid manifest (schema 1): {error}; export again") from error
