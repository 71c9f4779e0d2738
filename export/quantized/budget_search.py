"""The fewest linears to keep for a budget: ranked by sensitivity, bisected on images that are held in memory."""

import random

import numpy as np
import numpy.typing as npt

from deepvit.calibration.budget.budget import Budget, Kept, fewest_kept
from deepvit.calibration.budget.check import labelled_batches
from deepvit.calibration.budget.sensitivity import measure_sensitivity
from deepvit.calibration.budget.switchable import SwitchableModel
from deepvit.images.sources import ImageSource, Subset
from deepvit.metrics.paired import PairedCounts, count_pairs
from deepvit.progress import Progress
from deepvit.runtime.tensors import Images, Logits

from ..graph.float32 import Float32Graph
from .calibrated import CalibratedGraph

RANKING_IMAGES = 32  # the ranking needs few; the budget is measured on all
BATCH = 8
MAX_IMAGES = 512  # of each source that is added: what memory holds
SHUFFLE_SEED = 0  # lists are sorted by class; a beginning of one is to have all classes


class BudgetSearch:
    """A calibrated graph whose linears are switched, images with float32's logits on them, and the ranking.

    Args:
        source: The float32 graph.
        calibrated: It, calibrated.
        weight_only: Whether activations stay as they are.
        is_labelled: Whether all images that will be added have labels.
        progress: Called with what begins.
    """

    def __init__(
        self,
        source: Float32Graph,
        calibrated: CalibratedGraph,
        *,
        weight_only: bool,
        is_labelled: bool,
        progress: Progress,
    ) -> None:
        self._source, self._is_labelled, self._progress = source, is_labelled, progress
        self._grid = calibrated.ranges.grid
        self._model = SwitchableModel(calibrated.model, calibrated.ranges, weight_only=weight_only)
        self._images: list[Images] = []
        self._labels: list[npt.NDArray[np.int64]] = []
        self._exact: list[Logits] = []
        self._ranking: list[str] | None = None

    def add(self, source: ImageSource) -> None:
        """Add images of `source`, at most MAX_IMAGES, from all over it."""
        order = list(range(len(source)))
        random.Random(SHUFFLE_SEED).shuffle(order)  # noqa: S311 - repeatable, not secret
        chosen = Subset(source, tuple(order[:MAX_IMAGES]))
        channels = self._source.loaded.module.in_chans
        for images, labels in labelled_batches(chosen, self._source.preprocessing, channels, BATCH):
            self._images.append(images)
            self._labels.append(labels)
            self._exact.append(self._model.run(images))

    def fewest(self, budget: Budget, at_least: int) -> Kept:
        """Return the fewest linears to keep, `at_least` so many; see `fewest_kept`."""
        if self._ranking is None:
            self._ranking = self._rank()
        return fewest_kept(self._ranking, budget, self._measure, at_least)

    def _rank(self) -> list[str]:
        batches = self._images[: RANKING_IMAGES // BATCH]
        count = sum(map(len, batches))
        table = measure_sensitivity(
            self._model,
            batches,
            count,
            grid=self._grid,
            random_weights=self._source.is_random,
            progress=self._progress(f"ranking {len(self._model.units)} linears on {count} images"),
        )
        return table.ranking

    def _measure(self, quantized: frozenset[str]) -> PairedCounts:
        kept = len(self._model.units) - len(quantized)
        advance = self._progress(f"keeping {kept} of {len(self._model.units)} linears")
        counts: PairedCounts | None = None
        for images, labels, exact in zip(self._images, self._labels, self._exact, strict=True):
            part = count_pairs(self._model.run(images, quantized), exact, labels if self._is_labelled else None)
            counts = part if counts is None else counts + part
            advance(counts.images, sum(map(len, self._labels)))
        assert counts is not None
        return counts
