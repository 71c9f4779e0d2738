"""The images that prove an export: from the user's dataset, else the photographs that come with this package."""

import logging
import pathlib

import numpy as np

from deepvit.runtime.errors import InputError
from deepvit.runtime.preprocess import FILES, Crop, DecodePolicy, Preprocessing

from .decode import decode_one
from .imagenet import open_images
from .sources import FolderSource, ImageSource, spread

logger = logging.getLogger(__name__)
SAMPLES = pathlib.Path(__file__).with_name("photographs")


def bundled_samples() -> ImageSource:
    """Return the photographs in `photographs/`, whose sources its README names."""
    return FolderSource(SAMPLES, tuple((path.name, None) for path in sorted(SAMPLES.glob("*.jpg"))))


def open_images_or_samples(dataset: str | None, policy: DecodePolicy = FILES) -> ImageSource:
    """Open a folder of images, see `open_images`, or the bundled photographs where None."""
    return bundled_samples() if dataset is None else open_images(dataset, policy=policy)


def parity_images(dataset: str | None, count: int, policy: DecodePolicy = FILES) -> ImageSource:
    """Return at most `count` images, evenly spread over the dataset or the bundled samples.

    Raises:
        InputError: No dataset there.
    """
    return spread(open_images_or_samples(dataset, policy), count)


def parity_crops(dataset: str | None, count: int, preprocessing: Preprocessing, policy: DecodePolicy = FILES) -> Crop:
    """Return the crops (N, H, W, 3) uint8 of `parity_images`; see `crops_of`."""
    return crops_of(parity_images(dataset, count, policy), preprocessing)


def crops_of(source: ImageSource, preprocessing: Preprocessing) -> Crop:
    """Return the crops (N, H, W, 3) uint8 of all images; those that cannot be decoded are left out with a warning.

    Raises:
        InputError: No image can be used.
    """
    decoded = [decode_one(source, index, [preprocessing]) for index in range(len(source))]
    for item in decoded:
        if item.crop is None:
            logger.warning("left out of the parity images: %s %s", source.name(item.index), item.error)
    crops = [item.crop for item in decoded if item.crop is not None]
    if not crops:
        raise InputError(f"none of the {len(decoded)} parity images could be used: {decoded[0].error}")
    return np.stack(crops)


# On 2 cores a 384-pixel image costs about six times a 224-pixel one, so that there are fewer of them.
LARGE_IMAGE = 256
SMALL_IMAGE = 64  # of so few tokens that two cost nothing


def default_images(img_size: int) -> int:
    """Return how many images prove an export when nobody says: all photographs that come with this package."""
    return 16 if img_size <= LARGE_IMAGE else 8


def float64_images(img_size: int) -> int:
    """Return how many images prove the folds: algebra is right or wrong for each token of one, and float64 is slow."""
    return 2 if img_size <= SMALL_IMAGE else 1
