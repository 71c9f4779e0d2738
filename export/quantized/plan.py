"""What a quantisation is going to work on: its images opened, and what can be refused early refused."""

import dataclasses
from typing import TYPE_CHECKING

from deepvit.calibration import stages
from deepvit.calibration.budget.budget import Budget, BudgetKind, Evidence
from deepvit.calibration.options import QuantizationOptions
from deepvit.calibration.ranges import Ranges, read_ranges
from deepvit.calibration.selection import CalibrationImages, choose_images
from deepvit.metrics.paired import PairedCounts
from deepvit.progress import Progress
from deepvit.runtime.errors import InputError
from deepvit.runtime.preprocess import FILES, DecodePolicy, Preprocessing

from ..options import ExportOptions
from .images import CalibrationSource, HeldOut, calibration_source, held_out_images, left_over

if TYPE_CHECKING:
    from deepvit.model.load import LoadedModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class CalibrationInput:
    """What a quantisation works on.

    Attributes:
        images: Those that calibrate, and that a budget is searched on; None where neither is done.
        ranges: What a ranges file says, where one was given.
        held_out: Those that check what comes out; None where nothing does.
    """

    images: CalibrationImages | None
    ranges: Ranges | None
    held_out: HeldOut | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuantizationPlan:
    """What a quantisation is going to work on: opened, and checked as far as no image has to be decoded for it.

    Attributes:
        chosen: The images to choose from, which calibrate, or which a budget is searched on; None where neither is.
        ranges: What a ranges file says, where one was given.
        held_out: The images that check the result, those that will calibrate still among them; None: nothing does.
        check_images: How many of them check, at most.
    """

    chosen: CalibrationSource | None
    ranges: Ranges | None
    held_out: HeldOut | None = None
    check_images: int = 0

    @property
    def checks(self) -> int:
        """On how many images the result is checked."""
        if self.held_out is None:
            return 0
        choice = None if self.chosen is None else self.chosen.choice
        calibrate = choice.count if choice is not None and choice.split is self.held_out.split else 0
        return max(min(self.check_images, len(self.held_out.source) - calibrate), 0)

    def inputs(self, preprocessing: Preprocessing, progress: Progress) -> CalibrationInput:
        """Choose and decode the images that calibrate, and leave them out of those that check.

        Raises:
            InputError: Images that cannot be decoded.
        """
        images = None
        if self.chosen is not None:
            source, choice = self.chosen.source, self.chosen.choice
            images = choose_images(source, choice, preprocessing, progress(stages.choosing(choice.count)))
        held_out = None
        if self.held_out is not None:
            held_out = left_over(self.held_out, images, self.check_images)
        return CalibrationInput(images=images, ranges=self.ranges, held_out=held_out)


def plan_quantization(options: ExportOptions, classes: int, *, is_random: bool) -> QuantizationPlan:
    """Open the images of an export to INT8 or FP8, and refuse what can be refused before hours of calibration.

    Args:
        options: What is asked for.
        classes: Of the model.
        is_random: Whether its weights are random, which photographs calibrate and nothing checks but a budget.

    Raises:
        InputError: Images, ranges or labels that cannot be used.
    """
    quantization, dataset, goal = options.quantization, options.imagenet, options.quantization.goal
    if goal is not None and options.graph.batch.min == options.graph.batch.max:
        raise InputError("a budget is searched with batches of several sizes; give ‹batch› MIN:OPT:MAX")
    if goal is not None and dataset is None:
        raise InputError(f"{goal.kind.option} is measured on images; give ‹imagenet› DIR")
    held_out, count = None, quantization.check_images
    if dataset is not None and count and (goal is not None or not is_random):
        held_out = held_out_images(dataset, classes, options.decoding)
    if goal is not None and held_out is not None:
        require_check(goal, held_out, count, f"{classes} classes in {dataset}")
    ranges, chosen = None, None
    if goal is not None or not quantization.weight_only:  # else nothing is calibrated, and nothing searched
        ranges = None if quantization.ranges is None else read_ranges(quantization.ranges)
        chosen = calibration_source(quantization, dataset, classes, options.decoding, is_random=is_random)
    plan = QuantizationPlan(chosen=chosen, ranges=ranges, held_out=held_out, check_images=count)
    if goal is not None and goal.kind is BudgetKind.MAX_DROP and chosen is not None and not chosen.is_labelled:
        raise InputError("‹max_drop› needs labelled images to search on too; give ‹min_agreement›, which needs none")
    if goal is not None and not plan.checks:
        raise InputError("a budget is checked on images that did not calibrate, and none are left; add val/")
    return plan


def calibration_input(
    loaded: "LoadedModel",
    options: QuantizationOptions,
    dataset: str | None,
    progress: Progress,
    policy: DecodePolicy = FILES,
) -> CalibrationInput:
    """Choose and decode the images that calibrate a model, or read a ranges file; see `calibration_source`.

    Raises:
        InputError: A file that cannot be used, no dataset, too few images, or some that cannot be decoded.
    """
    ranges = None if options.ranges is None else read_ranges(options.ranges)
    classes, is_random = loaded.module.num_classes, loaded.weights.source == "random"
    chosen = calibration_source(options, dataset, classes, policy, is_random=is_random)
    return QuantizationPlan(chosen=chosen, ranges=ranges).inputs(loaded.preprocessing(), progress)


def require_check(budget: Budget, held_out: HeldOut, count: int, where: str) -> None:
    """Refuse a budget that so many of the held-out images could not measure, or not show.

    Raises:
        InputError: No labels for a budget of accuracy, or too few images to show an agreement.
    """
    option = budget.kind.option
    if budget.kind is BudgetKind.MAX_DROP and not held_out.is_labelled:
        raise InputError(f"{option} needs labelled images for {where}; else ‹min_agreement›")
    images = min(count, len(held_out.source))
    flawless = PairedCounts(images, images)
    is_asked = budget.evidence is Evidence.INTERVAL and budget.kind is BudgetKind.MIN_AGREEMENT
    if is_asked and not budget.is_shown(flawless):
        needed = budget.images_needed(flawless)
        more = f"{needed} would, by ‹check_images›" if needed is not None else "no number can"
        raise InputError(
            f"‹confident› {option} {budget.limit:g}: {images} held-out images cannot show it even where none "
            f"changes its class; {more}"
        )
