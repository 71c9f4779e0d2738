"""manifest.json: what an artifact is, as one validated record that Python, C++ and Triton read."""

from .fields import Sha256
from .forms import Backend, Grid, HardwareCompatibility, InputForm, Level, MixForm, Precision, QkvForm, Split
from .golden import GOLDEN_LOGITS, GOLDEN_SQNR_DB, GoldenAnswer
from .identity import IDENTITY, VERSION, Identity, Tensor, Weights, name_fault, names_or_numbers, parse_identity
from .records import (
    ANY_BATCH,
    AccuracyCheck,
    BatchRange,
    BudgetProof,
    BuildLimits,
    Calibration,
    Census,
    Engine,
    FileRecord,
    FoldRecord,
    GraphForm,
    Interval,
    ParityStage,
    PlainSessions,
)
from .schema import Manifest, parse_manifest

__all__ = [
    "ANY_BATCH",
    "GOLDEN_LOGITS",
    "GOLDEN_SQNR_DB",
    "IDENTITY",
    "VERSION",
    "AccuracyCheck",
    "Backend",
    "BatchRange",
    "BudgetProof",
    "BuildLimits",
    "Calibration",
    "Census",
    "Engine",
    "FileRecord",
    "FoldRecord",
    "GoldenAnswer",
    "GraphForm",
    "Grid",
    "HardwareCompatibility",
    "Identity",
    "InputForm",
    "Interval",
    "Level",
    "Manifest",
    "MixForm",
    "ParityStage",
    "PlainSessions",
    "Precision",
    "QkvForm",
    "Sha256",
    "Split",
    "Tensor",
    "Weights",
    "name_fault",
    "names_or_numbers",
    "parse_identity",
    "parse_manifest",
]
