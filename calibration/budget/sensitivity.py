"""How much each linear costs: quantised alone, and left out alone, by what that does to the logits."""

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from deepvit.metrics.distance import sqnr_db, squares
from deepvit.progress import Advance
from deepvit.runtime.artifact.manifest import Grid
from deepvit.runtime.session.tensors import Images, Logits

from .result import Sensitivity, UnitSensitivity
from .switchable import SwitchableModel


class _Distance:
    """Sums of one configuration's distance from float32."""

    def __init__(self) -> None:
        self.kl = self.signal = self.noise = 0.0

    def add(self, logits: Logits, exact: Logits) -> None:
        self.kl += float(_kl(exact, logits).sum())
        signal, noise = squares(logits, exact)
        self.signal += float(signal)
        self.noise += float(noise)

    @property
    def sqnr_db(self) -> float | None:
        return sqnr_db(self.signal, self.noise)


def _kl(exact: Logits, logits: Logits) -> npt.NDArray[np.float64]:
    """Return KL(softmax(exact) ‖ softmax(logits)) of each image, never below 0 by rounding."""
    p, q = _log_softmax(exact), _log_softmax(logits)
    return np.maximum((np.exp(p) * (p - q)).sum(axis=1), 0.0)


def _log_softmax(logits: Logits) -> npt.NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def measure_sensitivity(
    model: SwitchableModel,
    batches: Iterable[Images],
    images: int,
    *,
    grid: Grid,
    random_weights: bool,
    progress: Advance,
) -> Sensitivity:
    """Quantise each unit alone, and leave each out alone, on all images of `batches`.

    What lies before a unit is computed once for each batch, so that memory holds the states of one batch.

    Args:
        model: The switchable graph.
        batches: Images as the graph takes them.
        images: How many there are.
        grid: What the units are quantised to, for the record.
        random_weights: Whether the result says nothing about a trained model.
        progress: Called with images done.
    """
    everything = frozenset(model.units)
    alone = {unit: _Distance() for unit in model.units}
    left_out = {unit: _Distance() for unit in model.units}
    total, done = _Distance(), 0
    for batch in batches:
        plain, quantized = model.states(batch, frozenset()), model.states(batch, everything)
        exact = plain[-1]
        total.add(quantized[-1], exact)
        for unit in model.units:
            alone[unit].add(model.changed(plain, unit, {unit}), exact)
            left_out[unit].add(model.changed(quantized, unit, everything - {unit}), exact)
        done += len(batch)
        progress(done, images)
    rows = [
        UnitSensitivity(
            unit=unit,
            alone_kl_nats=alone[unit].kl / done,
            alone_sqnr_db=alone[unit].sqnr_db,
            left_out_kl_nats=left_out[unit].kl / done,
            left_out_sqnr_db=left_out[unit].sqnr_db,
        )
        for unit in model.units
    ]
    rows.sort(key=lambda row: (_order(row.alone_sqnr_db), -row.alone_kl_nats, row.unit))
    return Sensitivity(
        grid=grid,
        images=done,
        random_weights=random_weights,
        all_kl_nats=total.kl / done,
        all_sqnr_db=total.sqnr_db,
        units=rows,
    )


def _order(sqnr: float | None) -> float:
    return math.inf if sqnr is None else sqnr
