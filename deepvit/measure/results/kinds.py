"""Every kind of result, and the JSON Schema of each."""

import json

from deepvit.calibration.budget.result import Sensitivity
from deepvit.metrics.result import DIGITS, Result

from ..attention.analysis import AttentionAnalysis
from ..bench.result import Benchmark
from ..compare.result import Comparison, LayerReport
from ..evaluate.result import Evaluation
from .artifact import Build, Export, Inspection
from .classification import Classification
from .machine import Diagnosis
from .package import Package
from .plan import Plan
from .variants import Variants

CLASSES: tuple[type[Result], ...] = (
    AttentionAnalysis,
    Benchmark,
    Build,
    Classification,
    Comparison,
    Diagnosis,
    Evaluation,
    Export,
    Inspection,
    LayerReport,
    Package,
    Plan,
    Sensitivity,
    Variants,
)
KINDS: dict[str, type[Result]] = {each.model_fields["kind"].default: each for each in CLASSES}
DIALECT = "https://json-schema.org/draft/2020-12/schema"
ABOUT = (
    "Shares of images are fractions from 0 to 1, drops too; probabilities likewise; other quantities have their unit "
    f"in the name. Numbers have {DIGITS} significant digits; the manifest within is exact."
)


def schema_text(kind: str) -> str:
    """Return the JSON Schema of what commands write as `kind`, as it stands in docs/schemas/."""
    schema = KINDS[kind].model_json_schema(by_alias=True, mode="serialization")
    return json.dumps({"$schema": DIALECT, "$comment": ABOUT} | schema, indent=2, ensure_ascii=False) + "\n"
