"""The fewest linears to keep for a budget: ranked by sensitivity, bisected on images that are held in memory."""

import dataclasses
import random

import numpy as np
import numpy.typing as npt
import onnx

from deepvit.calibration.budget.budget import Budget, BudgetKind, Kept, fewest_kept
from deepvit.calibration.budget.check import labelled_batches
from deepvit.calibration.budget.sensitivity import measure_sensitivity
from deepvit.calibration.budget.switchable import SwitchableModel
from deepvit.calibration.ranges import grid_of
from deepvit.images.sources import ImageSource, Subset
from deepvit.metrics.paired import PairedCounts, count_pairs
from deepvit.progress import Progress
from deepvit.runtime.artifact.manifest import AccuracyCheck, BudgetProof
from deepvit.runtime.session.tensors import Images, Logits

from .. import stages
from ..graph.float32 import Float32Graph
from ..options import ExportOptions
from .calibrated import CalibratedGraph, typed_graph
from .held_out_check import HeldOutCheck, budget_proof
from .words import budget_failure, describe_check

RANKING_IMAGES = 32  # the ranking needs few; the budget is measured on all
BATCH = 8
MAX_IMAGES = 512  # of each source that is added: what memory holds
SHUFFLE_SEED = 0  # lists are sorted by class; a beginning of one is to have all classes


class BudgetSearch:
    """A calibrated graph whose linears are switched, images with float32's logits on them, and the ranking.

    Args:
        source: The float32 graph.
        calibrated: That graph with its rescalings and the ranges of its activations, where it has any.
        budget: What must hold; for one of accuracy, all images that will be added have labels.
        progress: Called with what begins.
    """

    def __init__(self, source: Float32Graph, calibrated: CalibratedGraph, budget: Budget, progress: Progress) -> None:
        self._source, self._budget, self._progress = source, budget, progress
        self._grid = grid_of(calibrated.ranges)
        self._model = SwitchableModel(calibrated.model, calibrated.ranges)
        self._images: list[Images] = []
        self._labels: list[npt.NDArray[np.int64]] = []
        self._exact: list[Logits] = []
        self._ranking: list[str] | None = None

    def add(self, source: ImageSource) -> None:
        """Add images of `source`, at most MAX_IMAGES, from all over it."""
        order = list(range(len(source)))
        random.Random(SHUFFLE_SEED).shuffle(order)  # noqa: S311 - repeatable, not secret
        subset = Subset(source, tuple(order[:MAX_IMAGES]))
        channels = self._source.loaded.module.in_chans
        for images, labels in labelled_batches(subset, self._source.preprocessing, channels, BATCH):
            self._images.append(images)
            self._labels.append(labels)
            self._exact.append(self._model.run(images))

    def fewest(self, at_least: int, images: int) -> Kept:
        """Return the fewest linears to keep, `at_least` so many, to be checked on `images`; see `fewest_kept`."""
        if self._ranking is None:
            self._ranking = self._rank()
        return fewest_kept(self._ranking, self._budget, self._measure, at_least, images)

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
        count = len(self._model.units) - len(quantized)
        advance = self._progress(f"keeping {count} of {len(self._model.units)} linears")
        is_labelled = self._budget.kind is BudgetKind.MAX_DROP
        counts: PairedCounts | None = None
        for images, labels, exact in zip(self._images, self._labels, self._exact, strict=True):
            part = count_pairs(self._model.run(images, quantized), exact, labels if is_labelled else None)
            counts = part if counts is None else counts + part
            advance(counts.images, sum(map(len, self._labels)))
        assert counts is not None
        return counts


@dataclasses.dataclass(frozen=True, kw_only=True)
class FittedGraph:
    """A typed graph, the linears that it keeps unquantised, and what it costs; None where nothing was measured.

    `proof` says how sure it is that a budget is met.
    """

    model: onnx.ModelProto
    float_units: tuple[str, ...]
    check: AccuracyCheck | None
    proof: BudgetProof | None = None


def fit_budget(
    budget: Budget,
    source: Float32Graph,
    calibrated: CalibratedGraph,
    check: HeldOutCheck,
    options: ExportOptions,
    progress: Progress,
) -> FittedGraph:
    """Find the fewest linears to keep on the calibration images, and check them on the held-out ones.

    Where the check fails, half of the held-out images join the search, and the other half, of which only that one
    verdict was seen, check what it finds.

    Raises:
        OutOfBoundsError: No choice meets the budget.
    """
    images, held_out = calibrated.images, check.held_out
    assert images is not None
    assert held_out is not None
    search = BudgetSearch(source, calibrated, budget, progress)
    progress(stages.searching(budget.text))
    search.add(images.source)
    at_least = 0
    for attempt in ("first", "second"):
        choice = search.fewest(at_least, len(held_out.source))
        if not choice.is_met:
            raise budget_failure(
                budget, choice.units, f"{budget.describe(choice.counts)} on the search images", choice.counts
            )
        model = typed_graph(calibrated, options, choice.units)
        record, counts = check.measure(model, held_out)
        if budget.is_met(counts):
            proof = budget_proof(budget, counts)
            return FittedGraph(model=model, float_units=choice.units, check=record, proof=proof)
        if attempt == "first":
            halves = [Subset(held_out.source, tuple(range(i, len(held_out.source), 2))) for i in (0, 1)]
            search.add(halves[0])
            held_out, at_least = dataclasses.replace(held_out, source=halves[1]), len(choice.units)
    raise budget_failure(budget, choice.units, describe_check(record), counts)
