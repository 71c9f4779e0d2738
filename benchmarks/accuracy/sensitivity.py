"""What each linear costs in INT8, alone and left out, as `sensitivity` measures it."""

from typing import Any

import numpy as np

from deepvit.calibration.options import QuantizationOptions
from deepvit.measure.display.figures import integer_ticks, new_figure
from deepvit.measure.sensitivity import report_sensitivity

from .forms import FORMS, Graphs
from .subject import Subject, say

IMAGES = 128
KINDS = {"attn.qkv": "#3b82f6", "attn.proj": "#22a06b", "mlp.fc1": "#f97316", "mlp.fc2": "#dc2626"}


def measure_all_linears(subject: Subject, _graphs: Graphs) -> dict[str, Any]:
    """Return the table of all linears on images that calibrated."""
    graph = FORMS["INT8"].graph
    found = report_sensitivity(subject.loaded, graph, QuantizationOptions(), subject.dataset, IMAGES, say)
    return found.model_dump(mode="json", by_alias=True, exclude={"kind", "command"})


def draw_sensitivity(found: dict[str, Any], title: str) -> Any:
    """Draw the SQNR of every linear quantised alone, and the KL divergence, a bar each, block by block."""
    rows = {row["unit"]: row for row in found["units"]}
    figure = new_figure((9.5, 6.0))
    upper, lower = figure.subplots(2, 1, sharex=True)
    blocks = sorted({int(unit.split(".")[1]) for unit in rows})
    for place, (kind, colour) in enumerate(KINDS.items()):
        units = [rows[f"blocks.{block}.{kind}"] for block in blocks]
        at = np.array(blocks) + (place - 1.5) * 0.2
        upper.bar(at, [_number(row["alone_sqnr_db"]) for row in units], 0.19, color=colour, label=kind)
        lower.bar(at, [row["alone_kl_nats"] for row in units], 0.19, color=colour)
    upper.axhline(found["all_sqnr_db"], color="gray", linestyle="--", linewidth=0.8, label="all of them")
    upper.set_ylabel("SQNR of the logits, dB\n(shorter: costs more)")
    lower.axhline(found["all_kl_nats"], color="gray", linestyle="--", linewidth=0.8)
    lower.set_yscale("log")
    lower.set_ylabel("KL divergence, nats\n(longer: costs more)")
    lower.set_xlabel("block")
    integer_ticks(lower)
    for axes in (upper, lower):
        axes.grid(alpha=0.25, axis="y")
    figure.legend(loc="outside lower center", ncols=5, fontsize=8)
    figure.suptitle(f"{title}: each linear in INT8 alone, {found['images']} images", fontsize=10)
    return figure


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
