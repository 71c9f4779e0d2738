"""manifest.json: what an artifact is, as one validated record that Python, C++ and Triton read."""

from .batch import ANY_BATCH, BatchRange
from .engines import BuildLimits, Census, Engine, EnginePlugin
from .fields import FileRecord, Sha256
from .forms import (
    Backend,
    ChooseForm,
    Grid,
    HardwareCompatibility,
    InputForm,
    Level,
    MixForm,
    Precision,
    QkvForm,
    ReattentionForm,
    Split,
)
from .golden import GOLDEN_LOGITS, GOLDEN_SQNR_DB, GoldenAnswer
from .graph import ArchitectureRecord, FoldRecord, GraphForm, PlainSessions, TriedForm, TriedForms
from .identity import IDENTITY, VERSION, Identity, Tensor, Weights, name_fault, names_or_numbers, parse_identity
from .proof import AccuracyCheck, BudgetProof, Calibration, Interval, ParityStage
from .schema import Manifest, parse_manifest

__all__ = [
    "ANY_BATCH",
    "GOLDEN_LOGITS",
    "GOLDEN_SQNR_DB",
    "IDENTITY",
    "VERSION",
    "AccuracyCheck",
    "ArchitectureRecord",
    "Backend",
    "BatchRange",
    "BudgetProof",
    "BuildLimits",
    "Calibration",
    "Census",
    "ChooseForm",
    "Engine",
    "EnginePlugin",
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
    "ReattentionForm",
    "Sha256",
    "Split",
    "Tensor",
    "TriedForm",
    "TriedForms",
    "Weights",
    "name_fault",
    "names_or_numbers",
    "parse_identity",
    "parse_manifest",
]
