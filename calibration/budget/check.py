"""What quantisation costs, measured on images that had no part in it."""

import itertools
from collections.abc import Iterator

import numpy as np

from deepvit.images.decode import decode_images
from deepvit.images.sources import ImageSource
from deepvit.metrics.paired import PairedCounts, count_pairs
from deepvit.progress import Advance
from deepvit.runtime.errors import InputError
from deepvit.runtime.preprocess import Preprocessing, model_input
from deepvit.runtime.session import Session
from deepvit.runtime.session.tensors import Images

BATCH = 16


def check_pairs(
    session: Session,
    reference: Session,
    source: ImageSource,
    preprocessing: Preprocessing,
    *,
    channels: int,
    is_labelled: bool,
    progress: Advance,
) -> PairedCounts:
    """Run every image of `source` through both models and count; images that cannot be decoded are left out.

    Raises:
        InputError: No image could be decoded.
        OutOfBoundsError: Logits that are not finite.
    """
    counts: PairedCounts | None = None
    for images, labels in labelled_batches(source, preprocessing, channels):
        part = count_pairs(session.run(images), reference.run(images), labels if is_labelled else None)
        counts = part if counts is None else counts + part
        progress(counts.images, len(source))
    if counts is None:
        raise InputError(f"none of the {len(source)} held-out images could be decoded")
    return counts


def labelled_batches(
    source: ImageSource, preprocessing: Preprocessing, channels: int, size: int = BATCH
) -> Iterator[tuple[Images, np.ndarray[tuple[int], np.dtype[np.int64]]]]:
    """Yield batches as the graph takes them, with labels, which are −1 where there are none."""
    usable = (item for item in decode_images(source, [preprocessing]) if item.crop is not None)
    while batch := list(itertools.islice(usable, size)):
        crops = np.stack([item.crop for item in batch if item.crop is not None])
        labels = np.array([-1 if item.label is None else item.label for item in batch], np.int64)
        yield model_input(crops, preprocessing, channels), labels
