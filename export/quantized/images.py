"""Which images of a dataset calibrate, and which are held out to measure what quantisation cost."""

import dataclasses
import logging

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

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Images that had no part in calibration."""

    source: ImageSource
    split: Split
    is_labelled: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class CalibrationSource:
    """Images to choose from, and how."""

    source: ImageSource
    choice: ImageChoice


@dataclasses.dataclass(frozen=True, kw_only=True)
class CalibrationInput:
    """What a calibration works on: images, or a ranges file, whose images may be known as well; or neither."""

    images: CalibrationImages | None
    ranges: Ranges | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuantizationPlan:
    """What a quantisation is going to work on, checked as far as no image has to be decoded for it.

    Attributes:
        chosen: The images to choose from, which calibrate, or which a budget is searched on; None where neither is.
        ranges: What a ranges file says, where one was given.
        held_out: On how many images the result is checked.
    """

    chosen: CalibrationSource | None
    ranges: Ranges | None
    held_out: int

    def inputs(self, preprocessing: Preprocessing, progress: Progress) -> CalibrationInput:
        """Choose and decode the images.

        Raises:
            InputError: Images that cannot be decoded.
        """
        if self.chosen is None:
            return CalibrationInput(images=None, ranges=self.ranges)
        source, choice = self.chosen.source, self.chosen.choice
        images = choose_images(source, choice, preprocessing, progress(stages.choosing(choice.count)))
        return CalibrationInput(images=images, ranges=self.ranges)


def plan_quantization(options: ExportOptions, classes: int, *, is_random: bool) -> QuantizationPlan:
    """Find the images of an export to INT8 or FP8, and refuse what can be refused before hours of calibration.

    Args:
        options: What is asked for.
        classes: Of the model.
        is_random: Whether its weights are random, which photographs calibrate and nothing checks.

    Raises:
        InputError: Images, ranges or labels that cannot be used.
    """
    quantization, dataset, goal = options.quantization, options.imagenet, options.quantization.goal
    if goal is not None:
        if options.graph.batch.min == options.graph.batch.max:
            raise InputError("a budget is searched with batches of several sizes; give ‹batch› MIN:OPT:MAX")
        require_budget_images(goal, quantization, dataset, classes)
    ranges, chosen = None, None
    if goal is not None or not quantization.weight_only:  # else nothing is calibrated, and nothing searched
        ranges = None if quantization.ranges is None else read_ranges(quantization.ranges)
        chosen = calibration_source(quantization, dataset, options.decoding, is_random=is_random)
    held_out = _held_out_count(options, classes, chosen)
    if goal is not None and held_out == 0:
        raise InputError("a budget is checked on images that did not calibrate, and none are left; add val/")
    is_checked = goal is not None or not is_random
    return QuantizationPlan(chosen=chosen, ranges=ranges, held_out=held_out if is_checked else 0)


def _held_out_count(options: ExportOptions, classes: int, chosen: CalibrationSource | None) -> int:
    """Return how many images `held_out_images` will give."""
    count = options.quantization.check_images
    held_out = held_out_images(options.imagenet, classes, None, None if count else 0, options.decoding)
    if held_out is None:
        return 0
    calibrates = chosen.choice.count if chosen is not None and chosen.choice.split is held_out.split else 0
    return max(min(count, len(held_out.source) - calibrates), 0)


def calibration_input(
    options: QuantizationOptions,
    dataset: str | None,
    preprocessing: Preprocessing,
    progress: Progress,
    policy: DecodePolicy = FILES,
    *,
    is_random: bool,
) -> CalibrationInput:
    """Choose and decode images, or read a ranges file; see `calibration_source`.

    Raises:
        InputError: A file that cannot be used, no dataset, too few images, or some that cannot be decoded.
    """
    ranges = None if options.ranges is None else read_ranges(options.ranges)
    chosen = calibration_source(options, dataset, policy, is_random=is_random)
    return QuantizationPlan(chosen=chosen, ranges=ranges, held_out=0).inputs(preprocessing, progress)


def calibration_source(
    options: QuantizationOptions, dataset: str | None, policy: DecodePolicy, *, is_random: bool
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
        source, split = bundled_samples(), Split.BUNDLED
        logger.warning("calibrated on the %d bundled photographs: enough for random weights only", len(source))
        count = options.images or len(source)
    else:
        split = _split_of(dataset)
        _warn_of_split(dataset, split)
        source = open_images(dataset, "val" if split is Split.VAL else "train", policy)
        count = options.images or DEFAULT_IMAGES
    require_enough(source, count)
    choice = ImageChoice(count=count, split=split, seed=options.seed, skip_corrupt=options.skip_corrupt)
    return CalibrationSource(source=source, choice=choice)


def require_budget_images(budget: Budget, options: QuantizationOptions, dataset: str | None, classes: int) -> None:
    """Refuse a budget that could not be measured, or not be shown, before hours of calibration.

    Raises:
        InputError: No images, no labels for a budget of accuracy, or too few to show an agreement.
    """
    option = budget.kind.option
    if dataset is None:
        raise InputError(f"{option} is measured on images; give ‹imagenet› DIR")
    held_out = held_out_images(dataset, classes, None, options.check_images)
    if held_out is None or (budget.kind is BudgetKind.MAX_DROP and not held_out.is_labelled):
        raise InputError(f"{option} needs labelled images for {classes} classes in {dataset}; else ‹min_agreement›")
    if budget.kind is BudgetKind.MAX_DROP and not open_labelled(dataset, classes, _split_of(dataset))[1]:
        raise InputError("‹max_drop› needs labelled images to search on too; give ‹min_agreement›, which needs none")
    flawless = PairedCounts(len(held_out.source), len(held_out.source))
    is_asked = budget.evidence is Evidence.INTERVAL and budget.kind is BudgetKind.MIN_AGREEMENT
    if is_asked and not budget.is_shown(flawless):
        needed = budget.images_needed(flawless)
        more = f"{needed} would, by ‹check_images›" if needed is not None else "no number can"
        raise InputError(
            f"‹confident› {option} {budget.limit:g}: {flawless.images} held-out images cannot show it even where none "
            f"changes its class; {more}"
        )


def _split_of(dataset: str) -> Split:
    """Return what calibrates."""
    if has_split(dataset, "train"):
        return Split.TRAIN
    return Split.VAL if has_split(dataset, "val") else Split.FOLDER


def _warn_of_split(dataset: str, split: Split) -> None:
    if split is not Split.TRAIN:
        what = "its val/" if split is Split.VAL else "the folder itself, which may be what accuracy is measured on"
        logger.warning(
            "%s has no train/: calibrated on %s, so that accuracy measured there is flattered", dataset, what
        )


def held_out_images(
    dataset: str | None,
    classes: int,
    calibrated: CalibrationImages | None,
    count: int | None,
    policy: DecodePolicy = FILES,
) -> HeldOut | None:
    """Return at most `count` images that did not calibrate, all where None, evenly spread; None where there are none.

    They come from val/; without one, from what calibration left over.
    """
    if dataset is None or count == 0:
        return None
    split = Split.VAL if has_split(dataset, "val") else Split.TRAIN if has_split(dataset, "train") else Split.FOLDER
    source, is_labelled = open_labelled(dataset, classes, split, policy)
    calibration_indices = set(calibrated.indices) if calibrated is not None and calibrated.split is split else set()
    if calibration_indices:
        source = Subset(source, tuple(index for index in range(len(source)) if index not in calibration_indices))
    return HeldOut(spread(source, count), split, is_labelled) if len(source) else None


def open_labelled(dataset: str, classes: int, split: Split, policy: DecodePolicy = FILES) -> tuple[ImageSource, bool]:
    """Open a split with labels where it has such that fit the model, else without."""
    name = "train" if split is Split.TRAIN else "val"
    try:
        return open_dataset(dataset, classes, name, policy), True
    except InputError as error:
        logger.debug("no labels: %s", error)
        return open_images(dataset, name, policy), False
