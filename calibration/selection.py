"""Which images calibrate: seeded, the same number of each class, sorted, and all of them decodable."""

import dataclasses
import logging
import random

from deepvit.images.decode import decode_images
from deepvit.images.sources import ImageSource, Subset, list_sha256
from deepvit.progress import Advance
from deepvit.runtime.artifact.manifest import Split
from deepvit.runtime.errors import InputError, first_of
from deepvit.runtime.preprocess import Preprocessing

from .options import DEFAULT_SEED

logger = logging.getLogger(__name__)
CORRUPT_SHOWN = 20


@dataclasses.dataclass(frozen=True)
class CalibrationImages:
    """The images that calibrate, and what was replaced among them.

    Attributes:
        source: The images, in sorted order.
        indices: Where they are in the source that they were chosen from.
        split: Where they come from.
        seed: Of the choice.
        replaced: Names of images that could not be decoded, for which others were taken.
    """

    source: ImageSource
    indices: tuple[int, ...]
    split: Split
    seed: int
    replaced: tuple[str, ...] = ()

    @property
    def list_sha256(self) -> str:
        return list_sha256(self.source)


def seeded_order(source: ImageSource, seed: int) -> list[int]:
    """Return all indices of `source`, seeded, class by class in turn, so that any beginning of it is balanced.

    A class is the folder that an image lies in; the images of a source without folders are one class.
    """
    classes: dict[str, list[int]] = {}
    for index in range(len(source)):
        classes.setdefault(source.name(index).rpartition("/")[0], []).append(index)
    shuffled = random.Random(seed)  # noqa: S311 - a choice that anybody can repeat, not a secret
    queues = [classes[name] for name in sorted(classes)]
    for queue in queues:
        queue.sort(key=source.name)
        shuffled.shuffle(queue)
    shuffled.shuffle(queues)
    return [queue[turn] for turn in range(max(map(len, queues), default=0)) for queue in queues if turn < len(queue)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageChoice:
    """How images are chosen from a source.

    Attributes:
        count: How many.
        split: What the source is, for the record.
        seed: Of the choice.
        skip_corrupt: Take another image for each that cannot be decoded, instead of failing.
    """

    count: int
    split: Split
    seed: int = DEFAULT_SEED
    skip_corrupt: bool = False


def require_enough(source: ImageSource, count: int) -> None:
    """Refuse to choose more images than there are.

    Raises:
        InputError: There are fewer than `count`.
    """
    if len(source) < count:
        raise InputError(
            f"{len(source)} images to calibrate on, expected {count}; give ‹calibration_images› {len(source)}"
        )


def choose_images(
    source: ImageSource, choice: ImageChoice, preprocessing: Preprocessing, advance: Advance
) -> CalibrationImages:
    """Choose images and decode each of them once, so that calibration meets no surprise.

    Args:
        source: Where from.
        choice: How many of them, and which.
        preprocessing: How they are decoded.
        advance: Called with each image.

    Raises:
        InputError: Fewer images than asked for, or some that cannot be decoded, with their names.
    """
    count = choice.count
    require_enough(source, count)
    waiting = seeded_order(source, choice.seed)
    usable: list[int] = []
    corrupt: dict[str, str] = {}
    while len(usable) < count and waiting:
        missing = count - len(usable)
        batch, waiting = waiting[:missing], waiting[missing:]
        for item in decode_images(Subset(source, tuple(batch)), [preprocessing]):
            if item.crop is not None:
                usable.append(batch[item.index])
                advance(len(usable), count)
            else:
                corrupt[source.name(batch[item.index])] = item.error
        if corrupt and not choice.skip_corrupt:
            raise InputError(_say_corrupt(corrupt, count))
    if len(usable) < count:
        raise InputError(f"only {len(usable)} of {len(source)} images can be used; {_say_corrupt(corrupt, count)}")
    if corrupt:
        logger.warning(
            "%d images of %d could not be decoded and were replaced: %s", len(corrupt), count, _names(corrupt)
        )
    indices = tuple(sorted(usable, key=source.name))
    return CalibrationImages(Subset(source, indices), indices, choice.split, choice.seed, tuple(sorted(corrupt)))


def _names(corrupt: dict[str, str]) -> str:
    return first_of(sorted(corrupt), CORRUPT_SHOWN)


def _say_corrupt(corrupt: dict[str, str], count: int) -> str:
    why = corrupt[min(corrupt)]
    return (
        f"{len(corrupt)} of {count} calibration images cannot be decoded: {_names(corrupt)} ({why}); mend or "
        "remove them, or give ‹skip_corrupt› to take others"
    )
