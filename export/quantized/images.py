"""Which images of a dataset calibrate, and which are held out to measure what quantisation cost."""

import dataclasses
import logging
from typing import TYPE_CHECKING

from deepvit.calibration import stages
from deepvit.calibration.budget.budget import Budget, BudgetKind, Evidence
from deepvit.calibration.options import DEFAULT_IMAGES, QuantizationOptions
from deepvit.calibration.ranges import Ranges, read_ranges
from deepvit.calibration.selection import CalibrationImages, ImageChoice, choose_images, require_enough
from deepvit.images.imagenet import has_split, open_dataset, open_images
from deepvit.images.samples import bundled_samples
from deepvit.images.sources import ImageSource, Subset, spread
from deepvit.metrics.paired import PairedCounts
from deepvit.progress import Progress
from deepvit.runtime.errors import InputError
from deepvit.runtime.manifest import Split
from deepvit.runtime.preprocess import FILES, DecodePolicy, Preprocessing

from ..options import ExportOptions

if TYPE_CHECKING:
    from deepvit.model.load import LoadedModel

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Images that check what quantisation cost."""

    source: ImageSource
    split: Split
    is_labelled: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class CalibrationSource:
    """Images to choose from, and how."""

    source: ImageSource
    is_labelled: bool
    choice: ImageChoice


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


def calibration_source(
    options: QuantizationOptions, dataset: str | None, classes: int, policy: DecodePolicy, *, is_random: bool
) -> CalibrationSource | None:
    """Return the images to choose from; None where ranges stand for them.

    They are those of train/; where there is none of val/ or the folder itself, with a warning. Without a dataset, a
    model of random weights is calibrated on the bundled photographs.

    Raises:
        InputError: No dataset, or too few images.
    """
    if dataset is None and options.ranges is not None:
        return None
    if dataset is None:
        if not is_random:
            raise InputError("INT8 and FP8 are calibrated on images; give ‹imagenet› DIR, or ‹ranges› FILE")
        source, split, is_labelled = bundled_samples(), Split.BUNDLED, False
        logger.warning("calibrated on the %d bundled photographs: enough for random weights only", len(source))
        count = options.images or len(source)
    else:
        split = _split_in(dataset, Split.TRAIN, Split.VAL)
        _warn_of_split(dataset, split)
        source, is_labelled = _open_labelled(dataset, classes, split, policy)
        count = options.images or DEFAULT_IMAGES
    require_enough(source, count)
    choice = ImageChoice(count=count, split=split, seed=options.seed, skip_corrupt=options.skip_corrupt)
    return CalibrationSource(source=source, is_labelled=is_labelled, choice=choice)


def _warn_of_split(dataset: str, split: Split) -> None:
    if split is not Split.TRAIN:
        what = "its val/" if split is Split.VAL else "the folder itself, which may be what accuracy is measured on"
        logger.warning(
            "%s has no train/: calibrated on %s, so that accuracy measured there is flattered", dataset, what
        )


def held_out_images(dataset: str, classes: int, policy: DecodePolicy = FILES) -> HeldOut:
    """Return the images that may check: those of val/; where there is none, of what calibrates."""
    split = _split_in(dataset, Split.VAL, Split.TRAIN)
    source, is_labelled = _open_labelled(dataset, classes, split, policy)
    return HeldOut(source=source, split=split, is_labelled=is_labelled)


def left_over(held_out: HeldOut, calibrated: CalibrationImages | None, count: int) -> HeldOut | None:
    """Return at most `count` images that did not calibrate, evenly spread; None where there are none."""
    source = held_out.source
    if calibrated is not None and calibrated.split is held_out.split:
        taken = set(calibrated.indices)
        source = Subset(source, tuple(index for index in range(len(source)) if index not in taken))
    return dataclasses.replace(held_out, source=spread(source, count)) if len(source) else None


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


def _split_in(dataset: str, *splits: Split) -> Split:
    """Return the first of some splits that a dataset has, else the folder itself."""
    return next((split for split in splits if has_split(dataset, split.value)), Split.FOLDER)


def _open_labelled(dataset: str, classes: int, split: Split, policy: DecodePolicy) -> tuple[ImageSource, bool]:
    """Open a split with labels where it has such that fit the model, else without."""
    name = "val" if split is Split.VAL else "train"
    try:
        return open_dataset(dataset, classes, name, policy), True
    except InputError as error:
        logger.debug("no labels: %s", error)
        return open_images(dataset, name, policy), False
