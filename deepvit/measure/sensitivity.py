"""`sensitivity`: a model and images → how much each linear costs, as a table and a plot."""

import pathlib
from collections.abc import Iterator

import rich.table

from deepvit.calibration.budget.result import Sensitivity
from deepvit.calibration.budget.sensitivity import measure_sensitivity
from deepvit.calibration.budget.switchable import SwitchableModel
from deepvit.calibration.observe.statistics import ImageFeed
from deepvit.calibration.options import QuantizationOptions
from deepvit.calibration.ranges import grid_of
from deepvit.export.graph.float32 import float32_graph
from deepvit.export.options import GraphOptions
from deepvit.export.quantized.calibrated import calibrate_graph
from deepvit.export.quantized.plan import CalibrationInput, calibration_input
from deepvit.images.samples import float64_images, parity_crops
from deepvit.images.sources import spread
from deepvit.metrics.distance import db_text
from deepvit.model.load import LoadedModel
from deepvit.progress import Progress
from deepvit.runtime.errors import InputError
from deepvit.runtime.preprocess import FILES, DecodePolicy

from .display.figures import draw_sqnr, new_figure, save_figure

SHOWN = 12


def report_sensitivity(
    loaded: LoadedModel,
    graph: GraphOptions,
    quantization: QuantizationOptions,
    dataset: str | None,
    images: int,
    progress: Progress,
    policy: DecodePolicy = FILES,
) -> Sensitivity:
    """Calibrate `loaded` and measure each linear quantised alone and left out alone.

    Args:
        loaded: The model.
        graph: Its precision and target.
        quantization: How it is calibrated.
        dataset: Whose images calibrate; None for random weights.
        images: How many of the calibration images score.
        progress: Called with each step.
        policy: Which images are decoded.

    Raises:
        InputError: Images that cannot be used.
        OutOfBoundsError: A rung of the parity ladder is outside its bound.
    """
    is_random = loaded.weights.source == "random"
    inputs = CalibrationInput(images=None, ranges=None)
    if dataset is not None or is_random or not quantization.weight_only:
        inputs = calibration_input(loaded, quantization, dataset, progress, policy)
    if inputs.images is None:
        raise InputError("sensitivity is scored on images; give ‹imagenet› DIR")
    crops = parity_crops(dataset, float64_images(loaded.module.img_size), loaded.preprocessing(), policy)
    source = float32_graph(loaded, graph.spec, crops, progress)
    calibrated = calibrate_graph(source, graph, quantization, inputs, progress)
    model = SwitchableModel(calibrated.model, calibrated.ranges)
    scored = spread(inputs.images.source, images)
    feed = ImageFeed(scored, source.preprocessing, loaded.module.in_chans)
    found = measure_sensitivity(
        model,
        feed.batches(),
        len(scored),
        grid=grid_of(calibrated.ranges),
        random_weights=source.is_random,
        progress=progress(f"quantising {len(model.units)} linears one by one on {len(scored)} images"),
    )
    return found.model_copy(update={"variant": loaded.variant.name})


def describe_sensitivity(result: Sensitivity) -> Iterator[str | rich.table.Table]:
    """Yield the table, the most sensitive linears first."""
    note = " (random weights)" if result.random_weights else ""
    everything = f"KL {result.all_kl_nats:.2e}, SQNR {db_text(result.all_sqnr_db)}"
    where = f"in {result.grid.value} on {result.images} images{note}"
    yield f"{len(result.units)} linears {where}; all of them: {everything}"
    yield "ranked by SQNR when each is quantised alone, the most sensitive first; KL in nats"
    table = rich.table.Table(box=None, pad_edge=False)
    for column in ("", "linear", "SQNR alone", "KL alone", "SQNR without", "KL without"):
        table.add_column(column, no_wrap=True)
    for rank, row in enumerate(result.units[:SHOWN], 1):
        scores = (
            db_text(row.alone_sqnr_db),
            f"{row.alone_kl_nats:.2e}",
            db_text(row.left_out_sqnr_db),
            f"{row.left_out_kl_nats:.2e}",
        )
        table.add_row(f"{rank}", row.unit, *scores)
    yield table
    if len(result.units) > SHOWN:
        yield f"and {len(result.units) - SHOWN} less sensitive ones; ‹json› lists them all"


def plot_sensitivity(result: Sensitivity, path: pathlib.Path) -> None:
    """Draw the SQNR of every linear, block by block, alone and left out, to a PNG, SVG or PDF file.

    Raises:
        MissingError: matplotlib is not installed.
        InputError: The file cannot be written.
    """
    figure = new_figure((9, 6))
    upper, lower = figure.subplots(2, 1, sharex=True)
    draw_sqnr(upper, result, "alone_sqnr_db")
    draw_sqnr(lower, result, "left_out_sqnr_db")
    if result.all_sqnr_db is not None:
        lower.axhline(result.all_sqnr_db, color="0.4", linestyle="--", label="all quantised")
        lower.legend(fontsize="small")
    note = ", random weights" if result.random_weights else ""
    upper.set_title(f"Sensitivity to {result.grid.value}, {result.images} images{note}")
    upper.set_ylabel("SQNR in dB, quantised alone")
    lower.set_ylabel("SQNR in dB, left out alone")
    lower.set_xlabel("block")
    save_figure(figure, path, "‹plot›")
