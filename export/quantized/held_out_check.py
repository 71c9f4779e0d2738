"""What quantisation cost, measured on held-out images, as a record with its intervals. Its words need no PyTorch."""

from typing import TYPE_CHECKING

import onnx

from deepvit.calibration.budget.budget import Budget
from deepvit.calibration.budget.check import check_pairs
from deepvit.calibration.selection import CalibrationImages
from deepvit.images.sources import list_sha256
from deepvit.metrics.bounds import DEFAULT_MAX_DROP
from deepvit.metrics.paired import PairedCounts, drop_fraction_interval, mcnemar_p, proportion_interval
from deepvit.progress import Progress
from deepvit.runtime.errors import OutOfBoundsError
from deepvit.runtime.manifest import AccuracyCheck
from deepvit.runtime.session import Session

from ..options import ExportOptions
from .images import HeldOut, held_out_images

if TYPE_CHECKING:
    from ..graph.float32 import Float32Graph


class HeldOutCheck:
    """The float32 graph, and images that did not calibrate: what a typed graph's cost is measured with.

    Args:
        source: The float32 graph.
        calibrated: The images that calibrated, where they are known.
        options: Which dataset, and how many of its images.
        progress: Called with each check as it begins.
    """

    def __init__(
        self,
        source: "Float32Graph",
        calibrated: CalibrationImages | None,
        options: ExportOptions,
        progress: Progress,
    ) -> None:
        classes, count = source.loaded.module.num_classes, options.quantization.check_images
        self.held_out = held_out_images(options.imagenet, classes, calibrated, count, options.decoding)
        self._source, self._precision, self._progress = source, options.graph.precision, progress
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
            progress=self._progress(f"checking on {len(held_out.source)} held-out images"),
        )
        return _record(counts, held_out), counts


def _record(counts: PairedCounts, held_out: HeldOut) -> AccuracyCheck:
    n, both, lost, gained = counts.images, counts.both, counts.lost, counts.gained
    images, split = list_sha256(held_out.source), held_out.split
    agreement, interval = counts.agree / n, proportion_interval(counts.agree, n)
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


def budget_failure(budget: Budget, float_units: tuple[str, ...], measured: str) -> OutOfBoundsError:
    """Return the error for a budget that no choice meets, with the best that was found."""
    examples = ", ".join([*float_units[:4], *(["…"] if len(float_units) > 4 else [])]) or "none"
    return OutOfBoundsError(
        f"no choice of linears meets {budget.kind.value} {budget.limit:g}; the best found keeps {len(float_units)} in "
        f"FP16 ({examples}): {measured}; loosen {budget.kind.option}, calibrate on more images, or give ‹fp16›; no "
        "artifact was written"
    )


def describe_check(check: AccuracyCheck) -> str:
    """Return what quantisation cost, in words."""
    low, high = (100 * end for end in (check.agreement_interval.low, check.agreement_interval.high))
    agreement = f"agreement {check.agreement:.2%} (95% interval {low:.2f} to {high:.2f})"
    where = f"on {check.images} held-out images of {check.split.value}"
    if check.drop is None or check.drop_interval is None:
        return f"{agreement} with float32 {where}, which have no labels"
    low, high = (100 * end for end in (check.drop_interval.low, check.drop_interval.high))
    return (
        f"top-1 {check.top1:.2%}, float32 {check.reference_top1:.2%}: drop {100 * check.drop:.2f} points (95% interval "
        f"{low:.2f} to {high:.2f}, McNemar's p {check.mcnemar_p:.2g}), {agreement} {where}"
    )
