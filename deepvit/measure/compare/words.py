"""`compare` in words, and the worst images as one picture."""

import base64
import io
import itertools
import pathlib
from collections.abc import Iterator, Sequence

import rich.table
from PIL import Image

from ..evaluate.scores import db_text
from ..figures import new_figure, plain, save_figure
from .result import ComparedModel, Comparison, WorstImage

SHOWN = 3  # worst images of each model, in words


def describe_comparison(found: Comparison, names: Sequence[str]) -> Iterator[str | rich.table.Table]:
    """Yield the ladders, what does not hold, and the worst images; `names` are the classes'."""
    yield f"reference     {found.reference}"
    yield f"images        {found.compared} of {found.listed} in {found.dataset}, {len(found.corrupt)} corrupt"
    table = rich.table.Table(box=None, pad_edge=False)
    for column in ("model", "stage", "against", "max abs", "SQNR", "top-1 agreement"):
        table.add_column(column, overflow="fold")
    for model in found.models:
        name = _named(model)
        for stage in model.stages:
            agreement = f"{stage.top1_agreement:.2%}"
            table.add_row(name, stage.stage, stage.against, f"{stage.max_abs:.2e}", db_text(stage.sqnr_db), agreement)
            name = ""
    yield table
    for model in found.models:
        same = "the same bytes" if model.input_max_abs == 0 else f"differs by up to {_shown(model.input_max_abs)}"
        yield f"input of {_named(model)}: {same}"
        for worst in model.worst[:SHOWN]:
            yield f"  worst: {_words(worst, names)}"
        for breach in model.breaches:
            yield f"  does not hold: {breach}"


def _named(model: ComparedModel) -> str:
    return f"{model.model} (random weights)" if model.random_weights else model.model


def _shown(value: float | None) -> str:
    return "another shape" if value is None else f"{value:.3g}"


def _words(worst: WorstImage, names: Sequence[str]) -> str:
    theirs = f"{names[worst.reference_class]} {worst.reference_probability:.1f}%"
    ours = f"{names[worst.model_class]} {worst.model_probability:.1f}%"
    changed = " (another class)" if worst.reference_class != worst.model_class else ""
    return f"{worst.name}: {db_text(worst.sqnr_db)}, {theirs} → {ours}{changed}"


def draw_worst(found: Comparison, names: Sequence[str], path: pathlib.Path) -> None:
    """Draw the worst images of every model, a row each, to a PNG, SVG or PDF file.

    Raises:
        InputError: The file cannot be written.
    """
    rows = [model for model in found.models if model.worst]
    columns = max((len(model.worst) for model in rows), default=1)
    figure = new_figure((1.9 * max(columns, 3), 2.6 * max(len(rows), 1) + 0.4))
    figure.suptitle(
        f"furthest from {plain(found.reference)}" if rows else f"no image differs from {plain(found.reference)}"
    )
    for part, model in zip(figure.subfigures(max(len(rows), 1), 1, squeeze=False)[:, 0], rows, strict=bool(rows)):
        part.suptitle(f"{plain(model.model)}{' (random weights)' if model.random_weights else ''}", fontsize=9)
        for axes, worst in itertools.zip_longest(part.subplots(1, columns, squeeze=False)[0], model.worst):
            axes.set_axis_off()
            if worst is not None:
                with Image.open(io.BytesIO(base64.b64decode(worst.thumbnail))) as image:
                    axes.imshow(image)
                axes.set_title(plain(_caption(worst, names)), fontsize=7)
    save_figure(figure, path, "--plot")


def _caption(worst: WorstImage, names: Sequence[str]) -> str:
    ours, theirs = names[worst.model_class][:22], names[worst.reference_class][:22]
    is_changed = worst.reference_class != worst.model_class
    verdict = f"{theirs} →\n{ours}" if is_changed else ours
    name = pathlib.PurePosixPath(worst.name).name[:24]
    return f"{name}\n{db_text(worst.sqnr_db)}\n{verdict} {worst.model_probability:.1f}%"
