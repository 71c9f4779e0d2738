"""What quantisation cost, and how sure it is that a budget is met, in words; they need no PyTorch."""

from deepvit.calibration.budget.budget import Budget, BudgetKind, Evidence
from deepvit.metrics.paired import PairedCounts, percents
from deepvit.runtime.artifact.manifest import AccuracyCheck, Calibration
from deepvit.runtime.errors import OutOfBoundsError


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
