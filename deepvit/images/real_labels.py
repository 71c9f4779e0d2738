"""ReaL: several valid labels for each of ImageNet's validation images.

Source: Beyer et al., "Are we done with ImageNet?" (arXiv:2006.07159); its `real.json` lists the labels of
ILSVRC2012_val_00000001 to _00050000 in that order, an empty list where the annotators agreed on none.
"""

import json
import pathlib
import re

from deepvit.runtime.errors import InputError
from deepvit.runtime.files import read_bounded

from .imagenet import VALIDATION_IMAGES
from .sources import ImageSource

MAX_BYTES = 16 << 20  # the published file has 0.4 MB
NUMBER = re.compile(r"ILSVRC2012_val_(\d{8})\.")


def read_real_labels(path: pathlib.Path, source: ImageSource) -> list[list[int]]:
    """Return the valid labels of every image of `source`, which are found by the number in its name.

    Raises:
        InputError: Not such a file, or an image that is none of the validation set's.
    """
    content = read_bounded(path, MAX_BYTES, "real.json", name=f"‹real_labels› {path}")
    try:
        labels = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"‹real_labels› {path} is not JSON; expected real.json") from error
    if not isinstance(labels, list) or len(labels) != VALIDATION_IMAGES or not all(map(_is_label_list, labels)):
        raise InputError(
            f"‹real_labels› {path}: expected a list of {VALIDATION_IMAGES} lists of labels, as real.json is"
        )
    found = []
    for index in range(len(source)):
        match = NUMBER.search(source.name(index))
        number = int(match[1]) if match else 0
        if not 1 <= number <= VALIDATION_IMAGES:
            raise InputError(
                f"‹real_labels› are for ImageNet's validation images; {source.name(index)} is not called "
                "ILSVRC2012_val_<number>"
            )
        found.append(labels[number - 1])
    return found


def _is_label_list(labels: object) -> bool:
    return isinstance(labels, list) and all(type(label) is int and 0 <= label < 1000 for label in labels)
