"""Which images of a dataset calibrate, and which are held out to measure what quantisation cost."""

import dataclasses
import logging

from deepvit.calibration.options import DEFAULT_IMAGES, QuantizationOptions
from deepvit.calibration.selection import CalibrationImages, ImageChoice, require_enough
from deepvit.images.imagenet import has_split, open_dataset, open_images
from deepvit.images.samples import bundled_samples
from deepvit.images.sources import ImageSource, Subset, spread
from deepvit.runtime.artifact.manifest import Split
from deepvit.runtime.errors import InputError
from deepvit.runtime.preprocess import FILES, DecodePolicy

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
