"""What `--max-drop` trades: kept linears against the drop on the images that it searches and on held-out ones."""

import dataclasses
from typing import Any

import numpy as np

from deepvit.calibration.budget.budget import Evidence, drop_of_at_most
from deepvit.calibration.budget.sensitivity import measure_sensitivity
from deepvit.calibration.budget.switchable import SwitchableModel
from deepvit.calibration.options import QuantizationOptions
from deepvit.calibration.ranges import grid_of
from deepvit.export.quantized.budget_search import RANKING_IMAGES
from deepvit.export.quantized.calibrated import CalibratedGraph, typed_graph
from deepvit.export.quantized.graph import quantize
from deepvit.export.quantized.plan import plan_quantization
from deepvit.images.decode import decode_images
from deepvit.measure.display.figures import new_figure
from deepvit.metrics.paired import PairedCounts, count_pairs, drop_fraction_interval
from deepvit.runtime.errors import OutOfBoundsError
from deepvit.runtime.ort.arithmetic import Arithmetic
from deepvit.runtime.preprocess import model_input
from deepvit.runtime.session.tensors import Images, Logits

from .forms import FORMS, Graphs
from .subject import BATCH, INT8, Subject, export_options, onnxruntime_logits, say

KEPT = (0, 1, 2, 4, 8, 16, 32, 47)
BUDGET = 0.2  # points
SEARCH, HELD_OUT = "search", "held_out"
Labels = np.ndarray[tuple[int], np.dtype[np.int64]]


def measure_budgets(subject: Subject, graphs: Graphs) -> dict[str, Any]:
    """Return the curve, and what an export with a budget says on all held-out images."""
    calibrated = graphs.calibrated(FORMS["INT8"])
    return {
        "curve": _curve(subject, calibrated),
        "budget": [export_within(subject, graphs, evidence) for evidence in Evidence],
    }


def _curve(subject: Subject, calibrated: CalibratedGraph) -> dict[str, Any]:
    images, labels = search_images(subject, calibrated)
    model = SwitchableModel(calibrated.model, calibrated.ranges)
    ranked = measure_sensitivity(
        model, _batches(images[:RANKING_IMAGES]), RANKING_IMAGES, grid=grid_of(calibrated.ranges),
        random_weights=False, progress=say(f"ranking {len(model.units)} linears"),
    ).ranking  # fmt: skip
    exact = np.concatenate([model.run(part) for part in _batches(images)])
    options = export_options(INT8, subject.dataset)
    rows = []
    for count in sorted({min(count, len(ranked) - 1) for count in KEPT}):
        say(f"keeping {count} of {len(ranked)} linears")
        rest = frozenset(ranked[count:])
        searched = np.concatenate([model.run(part, rest) for part in _batches(images)])
        typed = typed_graph(calibrated, options, tuple(ranked[:count]))
        held_out, _ = onnxruntime_logits(typed, subject.images, Arithmetic.AS_DECLARED)
        rows.append(
            {
                "kept": count,
                SEARCH: _drop(searched, exact, labels),
                HELD_OUT: _drop(held_out, subject.logits, subject.labels),
            }
        )
    return {"linears": len(ranked), "ranking": ranked, "search_images": len(labels), "rows": rows}


def search_images(subject: Subject, calibrated: CalibratedGraph) -> tuple[Images, Labels]:
    """Return the images that a search of a budget runs on, which are those that calibrated, with their labels."""
    chosen, loaded = calibrated.images, subject.loaded
    assert chosen is not None
    items = list(decode_images(chosen.source, [loaded.preprocessing()], 0))
    crops = np.stack([item.crop for item in items if item.crop is not None])
    labels = np.array([item.label for item in items], np.int64)
    return model_input(crops, loaded.preprocessing(), loaded.module.in_chans), labels


def _batches(images: Images) -> list[Images]:
    return [images[first : first + BATCH] for first in range(0, len(images), BATCH)]


def _drop(logits: Logits, exact: Logits, labels: Labels) -> dict[str, Any]:
    counts: PairedCounts = count_pairs(logits, exact, labels)
    return {
        "drop_fraction": (counts.drop_points or 0.0) / 100,
        "drop_fraction_interval": drop_fraction_interval(counts).model_dump(),
        "agreement": counts.agree / counts.images,
    }


def export_within(subject: Subject, graphs: Graphs, evidence: Evidence) -> dict[str, Any]:
    """Return what an export with a budget chooses, and what all held-out images say of it; or how it is refused."""
    say(f"--max-drop {BUDGET:g}, the {evidence.value} within it")
    quantization = QuantizationOptions(
        budget=drop_of_at_most(BUDGET), evidence=evidence, check_images=len(subject.labels)
    )
    options = dataclasses.replace(export_options(INT8, subject.dataset), quantization=quantization)
    asked = {"max_drop": BUDGET, "confident": evidence is Evidence.INTERVAL}
    loaded = subject.loaded
    inputs = plan_quantization(options, loaded.module.num_classes, is_random=False).inputs(loaded.preprocessing(), say)
    try:
        calibration = quantize(graphs.float32(INT8), options, inputs, say).calibration
    except OutOfBoundsError as error:
        return asked | {"refused": str(error).replace("‹", "--").replace("›", "").replace("max_drop", "max-drop")}
    assert calibration is not None
    found = calibration.model_dump(mode="json", include={"check", "budget_proof", "kept"})
    return asked | found


def draw_budgets(found: dict[str, Any], title: str) -> Any:
    """Draw the drop over the number of kept linears, on both sets of images, with the intervals of the held-out one."""
    curve = found["curve"]
    figure = new_figure((7.5, 4.6))
    axes = figure.add_subplot()
    styles = {HELD_OUT: ("held-out images", "#3b82f6"), SEARCH: (f"the {curve['search_images']} searched", "#f97316")}
    for name, (label, colour) in styles.items():
        kept = [row["kept"] for row in curve["rows"]]
        drops = [100 * row[name]["drop_fraction"] for row in curve["rows"]]
        axes.plot(kept, drops, marker="o", markersize=4, color=colour, label=label)
        if name == HELD_OUT:
            ends = [
                [100 * row[name]["drop_fraction_interval"][end] for row in curve["rows"]] for end in ("low", "high")
            ]
            axes.fill_between(kept, *ends, color=colour, alpha=0.15, label="95% interval")
    axes.axhline(0, color="gray", linewidth=0.8)
    axes.set_xlabel(f"linears kept in FP16, of {curve['linears']}, the most sensitive first")
    axes.set_ylabel("drop of top-1, points")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)
    axes.set_title(f"{title}: what kept linears buy", fontsize=10)
    return figure
