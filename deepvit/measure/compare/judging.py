"""What each rung of a ladder must hold, and whether it does."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import PIL

from deepvit.metrics.bounds import ENGINE_BOUNDS, FP32_BOUND, Bound, bound_of, breaches
from deepvit.metrics.distance import compare_logits
from deepvit.metrics.paired import proportion_interval
from deepvit.runtime.artifact.manifest import Interval, ParityStage
from deepvit.runtime.session.tensors import Logits

from ..evaluate.result import Corrupt
from ..models import OpenedModel, preprocessing_breaches
from .opening import Rung
from .result import ComparedModel, Judged, worst_images

# timm resizes with the Pillow that is installed, runtime.preprocess as Pillow 13 does: before, tall images differ.
INPUT_BOUND = 0.0 if int(PIL.__version__.partition(".")[0]) >= 13 else 0.05


@dataclasses.dataclass
class Outputs:
    """The outputs of all images so far, and their worst inputs; logits by model and rung."""

    names: list[str] = dataclasses.field(default_factory=list)
    thumbnails: dict[int, list[bytes]] = dataclasses.field(default_factory=dict)  # by model
    expected: list[Logits] = dataclasses.field(default_factory=list)
    logits: dict[tuple[int, int], list[Logits]] = dataclasses.field(default_factory=dict)
    input_max_abs: dict[int, float] = dataclasses.field(default_factory=dict)
    corrupt: list[Corrupt] = dataclasses.field(default_factory=list)


def judge_ladder(
    index: int, name: str, ladder: Sequence[Rung], reference: OpenedModel, outputs: Outputs
) -> ComparedModel:
    """Hold every rung of model `index` against the one before, the first against the reference."""
    model = ladder[0].model
    is_same = model.weights_sha256 is not None and model.weights_sha256 == reference.weights_sha256
    faults = list(preprocessing_breaches(model, reference))
    input_max_abs = outputs.input_max_abs[index]
    if is_same and input_max_abs > INPUT_BOUND:
        faults.append(f"its input differs from the reference's by up to {input_max_abs:.3g}, at most {INPUT_BOUND:g}")
    expected = np.concatenate(outputs.expected)
    stages, non_finite, worst = [], 0, []
    against, before = reference.name, expected
    for height, rung in enumerate(ladder):
        logits = np.concatenate(outputs.logits[index, height])
        finite = np.isfinite(logits).all(axis=1) & np.isfinite(before).all(axis=1)
        non_finite = int((~finite).sum())
        if non_finite:
            faults.append(f"{rung.stage}: the logits of {non_finite} images are not finite")
        if finite.any():
            stage = compare_logits(
                rung.stage, against, logits[finite], before[finite], top1_enforced=not model.has_random_weights
            )
            stages.append(stage)
            faults += [f"{rung.stage}: {breach}" for breach in breaches(stage, _bound(rung, reference))]
        against, before = rung.stage, logits
    if stages:
        worst = list(worst_images(outputs.names, outputs.thumbnails[index], before, expected))
    return ComparedModel(
        model=name,
        runs_on=ladder[-1].model.session.description,
        emulated=ladder[-1].model.session.is_emulated,
        precision=model.precision,
        random_weights=model.has_random_weights,
        input_max_abs=input_max_abs if np.isfinite(input_max_abs) else None,
        stages=stages,
        agreement_intervals=[_agreement_interval(stage) for stage in stages],
        judged=_judged_by(_bound(ladder[-1], reference), top1_enforced=not model.has_random_weights),
        non_finite=non_finite,
        breaches=faults,
        worst=worst,
    )


def _agreement_interval(stage: ParityStage) -> Interval:
    return proportion_interval(round(stage.top1_agreement * stage.images), stage.images)


def _judged_by(bound: Bound, *, top1_enforced: bool) -> list[Judged]:
    """Return what has a bound."""
    bounds: dict[Judged, float | None] = {"max abs": bound.max_abs, "SQNR": bound.sqnr_db}
    bounds["agreement"] = bound.top1_agreement if top1_enforced else None
    return [name for name, limit in bounds.items() if limit is not None]


def _bound(rung: Rung, reference: OpenedModel) -> Bound:
    """Return what a rung must hold: an engine against its graph, a graph against the reference."""
    precision = rung.model.precision
    if rung.is_engine and precision is not None:
        return ENGINE_BOUNDS.get(precision, FP32_BOUND)
    return bound_of(precision, reference.precision, FP32_BOUND)
