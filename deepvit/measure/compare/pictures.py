"""The worst images of a comparison, as one picture."""

import base64
import io
import itertools
import pathlib
import textwrap
from collections.abc import Sequence

from PIL import Image

from deepvit.metrics.distance import db_text

from ..display.figures import new_figure, plain, save_figure
from ..display.names import class_name, short_names
from .result import Comparison, WorstImage

LINE = 30  # characters of a caption


def draw_worst(comparison: Comparison, path: pathlib.Path) -> None:
    """Draw the worst images of every model, a row each, to a PNG, SVG or PDF file.

    Raises:
        InputError: The file cannot be written.
    """
    rows = [model for model in comparison.models if model.worst]
    columns = max((len(model.worst) for model in rows), default=1)
    figure = new_figure((1.9 * max(columns, 3), 2.6 * max(len(rows), 1) + 0.4))
    figure.suptitle(
        f"furthest from {plain(comparison.reference)}"
        if rows
        else f"no image differs from {plain(comparison.reference)}"
    )
    names_of = short_names([model.model for model in rows])
    parts = figure.subfigures(max(len(rows), 1), 1, squeeze=False)[:, 0]
    for part, model, name in zip(parts, rows, names_of, strict=bool(rows)):
        part.suptitle(f"{plain(name)}{' (random weights)' if model.random_weights else ''}", fontsize=9)
        for axes, worst in itertools.zip_longest(part.subplots(1, columns, squeeze=False)[0], model.worst):
            axes.set_axis_off()
            if worst is not None:
                with Image.open(io.BytesIO(base64.b64decode(worst.thumbnail))) as image:
                    axes.imshow(image, interpolation="nearest")
                axes.set_title(plain(_caption(worst, comparison.class_names)), fontsize=7)
    save_figure(figure, path, "‹plot›")


def _caption(worst: WorstImage, names: Sequence[str]) -> str:
    """Return name, distance and classes, wrapped between words; of a long name the end is what tells images apart."""
    ours, theirs = class_name(names, worst.model_class), class_name(names, worst.reference_class)
    verdict = ours if worst.reference_class == worst.model_class else f"{theirs} → {ours}"
    lines = textwrap.wrap(f"{verdict} {worst.model_probability:.1%}", LINE, max_lines=2, placeholder=" …")
    name = pathlib.PurePosixPath(worst.name).name
    shown = name if len(name) <= LINE else f"…{name[1 - LINE :]}"
    return "\n".join([shown, db_text(worst.sqnr_db), *lines])
