"""The figures, in the order of their numbers."""

from ..figure import Figure
from . import checkpoints, concurrency, datasets, images, kills, limits, models, native, plans, served


def all_figures() -> list[Figure]:
    """Return every figure that this machine can measure."""
    parts = (models, checkpoints, plans, images, kills, limits, concurrency, datasets, native, served)
    return [figure for part in parts for figure in part.FIGURES]
