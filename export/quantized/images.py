"""Which images of a dataset calibrate, and which are held out to measure what quantisation cost."""

import dataclasses
import logging
from typing import TYPE_CHECKING

from deepvit.calibration.budget.budget import Budget, BudgetKind, Evidence
from deepvit.calibration.options import DEFAULT_IMAGES, QuantizationOptions
from deepvit.calibration.ranges import Ranges, read_ranges
from deepvit.calibration.selection import CalibrationImages, ImageChoice, choose_images
from deepvit.images.imagenet import has_split, open_dataset, open_images
from deepvit.images.samples import bundled_samples
from deepvit.images.sources import ImageSource, Subset, spread
from deepvit.metrics.paired import PairedCounts
from deepvit.progress import Progress
from deepvit.runtime.errors import InputError
from deepvit.runtime.manifest import Split
from deepvit.runtime.preprocess import FILES, DecodePolicy

from ..options import ExportOptions

if TYPE_CHECKING:
    from deepvit.model.load import LoadedModel

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Images that had no part in calibration."""

    source: ImageSource
    split: Split
    is_labelled: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class CalibrationInput:
    """What a calibration works on: images, or a ranges file, whose images may be known as well; or neither."""

    images: CalibrationImages | None
    ranges: Ranges | None


def quantization_input(loaded: "LoadedModel", options: ExportOptions, progress: Progress) -> CalibrationInput:
    """Choose the images, and refuse what can be refused before a graph is exported.

    Raises:
        InputError: Images, ranges or labels that cannot be used.
    """
    quantization = options.quantization
    if quantization.goal is not None:
        if options.graph.batch.min == options.graph.batch.max:
            raise InputError("a budget is searched with batches of several sizes; give ‹batch› MIN:OPT:MAX")
        require_budget_images(quantization.goal, quantization, options.imagenet, loaded.module.num_classes)
    elif quantization.weight_only:  # nothing is calibrated, nothing is searched
        return CalibrationInput(images=None, ranges=None)
    return calibration_input(loaded, quantization, options.imagenet, progress, options.decoding)


def calibration_input(
    loaded: "LoadedModel",
    options: QuantizationOptions,
    dataset: str | None,
    progress: Progress,
    policy: DecodePolicy = FILES,
) -> CalibrationInput:
    """Choose and decode the images, or read the ranges file: what can be refused before a graph is exported.

    The images are those of train/; where there is none of val/ or the folder itself, with a warning. Without a
    dataset, a model of random weights is calibrated on the bundled photographs.

    Raises:
        InputError: A file that cannot be used, no dataset, too few images, or some that cannot be decoded.
    """
    ranges = None if options.ranges is None else read_ranges(options.ranges)
    if ranges is not None and dataset is None:
        return CalibrationInput(images=None, ranges=ranges)
    if dataset is None:
        if loaded.weights.source != "random":
            raise InputError("INT8 and FP8 are calibrated on images; give ‹imagenet› DIR, or ‹ranges› FILE")
        source, split = bundled_samples(), Split.BUNDLED
        logger.warning("calibrated on the %d bundled photographs: enough for random weights only", len(source))
        count = options.images or len(source)
    else:
        split = _split_of(dataset)
        source = open_images(dataset, "val" if split is Split.VAL else "train", policy)
        count = options.images or DEFAULT_IMAGES
    choice = ImageChoice(count=count, split=split, seed=options.seed, skip_corrupt=options.skip_corrupt)
    advance = progress(f"choosing {count} calibration images")
    return CalibrationInput(images=choose_images(source, choice, loaded.preprocessing(), advance), ranges=ranges)


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
    if has_split(dataset, "train"):
        return Split.TRAIN
    split = Split.VAL if has_split(dataset, "val") else Split.FOLDER
    what = "its val/" if split is Split.VAL else "the folder itself, which may be what accuracy is measured on"
    logger.warning("%s has no train/: calibrated on %s, so that accuracy measured there is flattered", dataset, what)
    return split


def held_out_images(
    dataset: str | None,
    classes: int,
    calibrated: CalibrationImages | None,
    count: int,
    policy: DecodePolicy = FILES,
) -> HeldOut | None:
    """Return at most `count` images that did not calibrate, evenly spread; None where there are none.

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
