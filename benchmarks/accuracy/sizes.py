"""How many images calibration takes: INT8 as `export` writes it, calibrated on more and more of them."""

from typing import Any

from deepvit.calibration.options import DEFAULT_IMAGES, QuantizationOptions
from deepvit.images.imagenet import open_images
from deepvit.measure.display.figures import new_figure
from deepvit.runtime.ort.arithmetic import Arithmetic

from .forms import Form, Graphs
from .subject import INT8, Subject, onnxruntime_logits, say, scored

SIZES = (64, 128, 256, 512, 1024, 2048, 4096)
FIELDS = ("drop_fraction", "drop_fraction_interval", "agreement", "agreement_interval", "sqnr_db", "mcnemar_p")


def measure_sizes(subject: Subject, graphs: Graphs) -> dict[str, Any]:
    """Return a row for each number of calibration images."""
    rows, most = [], len(open_images(subject.dataset, "train"))
    for images in (size for size in SIZES if size <= most):
        say(f"INT8, calibrated on {images}")
        chosen = None if images == DEFAULT_IMAGES else images
        typed = graphs.typed(Form(graph=INT8, quantization=QuantizationOptions(images=chosen)))
        found = scored(subject, onnxruntime_logits(typed, subject.images, Arithmetic.AS_DECLARED)[0])
        rows.append({"calibration_images": images} | {name: found[name] for name in FIELDS})
    return {"rows": rows}


def draw_sizes(found: dict[str, Any], title: str) -> Any:
    """Draw drop, agreement and SQNR over the number of images, with intervals."""
    rows = found["rows"]
    sizes = [row["calibration_images"] for row in rows]
    figure = new_figure((10.0, 3.6))
    drop, agreement, sqnr = figure.subplots(1, 3)
    for axes, name, label in (
        (drop, "drop_fraction", "drop of top-1, points"),
        (agreement, "agreement", "agreement, %"),
    ):
        values = [100 * row[name] for row in rows]
        below = [100 * (row[name] - row[f"{name}_interval"]["low"]) for row in rows]
        above = [100 * (row[f"{name}_interval"]["high"] - row[name]) for row in rows]
        axes.errorbar(sizes, values, [below, above], marker="o", markersize=4, capsize=3, color="#3b82f6")
        axes.set_ylabel(label)
    drop.axhline(0, color="gray", linewidth=0.8)
    sqnr.plot(sizes, [row["sqnr_db"] for row in rows], marker="o", markersize=4, color="#22a06b")
    sqnr.set_ylabel("SQNR of the logits, dB")
    for axes in (drop, agreement, sqnr):
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(size) for size in sizes], rotation=45, fontsize=8)
        axes.set_xlabel("calibration images")
        axes.grid(alpha=0.25)
    figure.suptitle(f"{title}: INT8 by the number of calibration images", fontsize=10)
    return figure
