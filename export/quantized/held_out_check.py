"""What quantisation cost, measured on held-out images, as a record with its intervals. Its words need no PyTorch."""

from typing import TYPE_CHECKING

import onnx

from deepvit.calibration.budget.budget import Budget, BudgetKind, Evidence
from deepvit.calibration.budget.check import check_pairs
from deepvit.images.sources import list_sha256
from deepvit.metrics.bounds import DEFAULT_MAX_DROP
from deepvit.metrics.paired import PairedCounts, agreement_interval, drop_fraction_interval, mcnemar_p, percents
from deepvit.progress import Progress
from deepvit.runtime.errors import OutOfBoundsError
from deepvit.runtime.manifest import AccuracyCheck, BudgetProof, Calibration, Precision
from deepvit.runtime.session import Session

from .. import stages
from .images import HeldOut

if TYPE_CHECKING:
    from ..graph.float32 import Float32Graph


class HeldOutCheck:
    """The float32 graph, and images that did not calibrate: what a typed graph's cost is measured with.

    Args:
        source: The float32 graph.
        held_out: The images; None where nothing is to be measured.
        precision: Of the typed graphs, for errors.
        progress: Called with each check as it begins.
    """

    def __init__(
        self, source: "Float32Graph", held_out: HeldOut | None, precision: Precision, progress: Progress
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
        from ..graph.proof import graph_session

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


def describe_proof(calibration: Calibration) -> str:
    """Return in words how sure it is that a budget is met."""
    proof, check = calibration.budget_proof, calibration.check
    if proof is None or check is None or calibration.budget is None:
        return ""
    kind, limit = calibration.budget.split()
    end = _end_of(check, kind)
    if proof.is_shown:
        return f"met, as is the interval, which reaches {end}"
    return (
        f"met at the point estimate; the interval reaches {end}: {_lacking(check.images, proof.images_needed, limit)}"
    )


def _end_of(check: AccuracyCheck, kind: str) -> str:
    if kind == BudgetKind.MIN_AGREEMENT.value or check.drop_interval is None:
        return f"{check.agreement_interval.low:.2%}"
    return f"{100 * check.drop_interval.high:.2f} points"


def _lacking(images: int, needed: int | None, limit: str) -> str:
    """Return that so many images cannot show a limit, and how many would, in two digits rounded up."""
    if needed is None:
        return f"{images} images cannot show {limit}, and at this rate no number would"
    unit = 10 ** max(len(str(needed)) - 2, 0)
    return f"{images} images cannot show {limit}, ‹check_images› {-(-needed // unit) * unit} would at this rate"


def budget_failure(
    budget: Budget, float_units: tuple[str, ...], measured: str, counts: PairedCounts
) -> OutOfBoundsError:
    """Return the error for a budget that no choice meets, with the best that was found and what it gave."""
    examples = ", ".join([*float_units[:4], *(["…"] if len(float_units) > 4 else [])]) or "none"
    needed = budget.images_needed(counts)
    if budget.evidence is Evidence.INTERVAL and needed is not None:
        measured = f"{measured}; {_lacking(counts.images, needed, f'{budget.limit:g}')}"
    verb = "shows" if budget.evidence is Evidence.INTERVAL else "meets"
    return OutOfBoundsError(
        f"no choice of linears {verb} {budget.kind.value} {budget.limit:g}; the best found keeps {len(float_units)} in "
        f"FP16 ({examples}): {measured}; loosen {budget.kind.option}, calibrate on more images, or give ‹fp16›; no "
        "artifact was written"
    )


def describe_check(check: AccuracyCheck) -> str:
    """Return what quantisation cost, in words."""
    agreement = f"agreement {check.agreement:.2%} (95% interval {percents(check.agreement_interval)})"
    where = f"on {check.images} held-out images of {check.split.value}"
    if check.drop is None or check.drop_interval is None:
        return f"{agreement} with float32 {where}, which have no labels"
    return (
        f"top-1 {check.top1:.2%}, float32 {check.reference_top1:.2%}: drop {100 * check.drop:.2f} points (95% interval "
        f"{percents(check.drop_interval)}, McNemar's p {check.mcnemar_p:.2g}), {agreement} {where}"
    )
