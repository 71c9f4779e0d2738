"""What quantisation cost, measured on held-out images, as a record with its intervals."""

import onnx

from deepvit.calibration.budget.budget import Budget, Evidence
from deepvit.calibration.budget.check import check_pairs
from deepvit.images.sources import list_sha256
from deepvit.metrics.bounds import DEFAULT_MAX_DROP
from deepvit.metrics.paired import PairedCounts, agreement_interval, drop_fraction_interval, mcnemar_p
from deepvit.progress import Progress
from deepvit.runtime.artifact.manifest import AccuracyCheck, BudgetProof, Precision
from deepvit.runtime.errors import OutOfBoundsError
from deepvit.runtime.session import Session

from .. import stages
from ..graph.float32 import Float32Graph
from ..graph.proof.logits import graph_session
from .images import HeldOut
from .words import describe_check


class HeldOutCheck:
    """The float32 graph, and images that did not calibrate: what a typed graph's cost is measured with.

    Args:
        source: The float32 graph.
        held_out: The images; None where nothing is to be measured.
        precision: Of the typed graphs, for errors.
        progress: Called with each check as it begins.
    """

    def __init__(
        self, source: Float32Graph, held_out: HeldOut | None, precision: Precision, progress: Progress
    ) -> None:
        self.held_out = held_out
        self._source, self._precision, self._progress = source, precision, progress
        self._reference: Session | None = None

    def measure(self, model: onnx.ModelProto, held_out: HeldOut) -> tuple[AccuracyCheck, PairedCounts]:
        """Run the held-out images through a typed graph and the float32 graph.

        Raises:
            InputError: No image could be decoded.
            OutOfBoundsError: Logits that are not finite.
        """
        if self._reference is None:
            self._reference = graph_session(self._source.model, "the ONNX graph in float32")
        counts = check_pairs(
            graph_session(model, f"the ONNX graph in {self._precision.value}"),
            self._reference,
            held_out.source,
            self._source.preprocessing,
            channels=self._source.loaded.module.in_chans,
            is_labelled=held_out.is_labelled,
            progress=self._progress(stages.checking(len(held_out.source))),
        )
        return _record(counts, held_out), counts


def _record(counts: PairedCounts, held_out: HeldOut) -> AccuracyCheck:
    n, both, lost, gained = counts.images, counts.both, counts.lost, counts.gained
    images, split = list_sha256(held_out.source), held_out.split
    agreement, interval = counts.agree / n, agreement_interval(counts)
    if both is None or lost is None or gained is None:  # no labels
        return AccuracyCheck(
            unit="fraction",
            images=n,
            list_sha256=images,
            split=split,
            agreement=agreement,
            agreement_interval=interval,
        )
    return AccuracyCheck(
        unit="fraction",
        images=n,
        list_sha256=images,
        split=split,
        agreement=agreement,
        agreement_interval=interval,
        reference_top1=(both + lost) / n,
        top1=(both + gained) / n,
        drop=(lost - gained) / n,
        drop_interval=drop_fraction_interval(counts),
        mcnemar_p=mcnemar_p(lost, gained),
    )


def require_default(check: AccuracyCheck) -> None:
    """Refuse a trained model that surely loses more than it may where nobody gave a budget.

    Surely: the interval of the drop lies above it, so that the chance of a few images refuses nothing.

    Raises:
        OutOfBoundsError: Even the lower end of the drop's interval is above DEFAULT_MAX_DROP.
    """
    if check.drop_interval is not None and 100 * check.drop_interval.low > DEFAULT_MAX_DROP:
        raise OutOfBoundsError(
            f"quantisation costs too much: {describe_check(check)}; give ‹max_drop› {DEFAULT_MAX_DROP} to keep the "
            "most sensitive linears in FP16, or ‹max_drop› 100 to accept any loss; no artifact was written"
        )


def budget_proof(budget: Budget, counts: PairedCounts) -> BudgetProof:
    """Return how sure the held-out images make it that the budget is met."""
    return BudgetProof(
        is_shown=budget.is_shown(counts),
        is_demanded=budget.evidence is Evidence.INTERVAL,
        images_needed=budget.images_needed(counts),
    )
