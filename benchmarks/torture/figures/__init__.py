"""The figures, in the order of their numbers."""

from ..figure import Figure
from . import checkpoints, images, models, plans


def all_figures() -> list[Figure]:
    """Return every figure that this machine can measure."""
    return [*models.FIGURES, *checkpoints.FIGURES, *plans.FIGURES, *images.FIGURES]
