"""Class names, one per line, in the order of the logits."""

import pathlib

from deepvit.runtime.errors import InputError
from deepvit.runtime.files import read_bounded

IMAGENET_CLASSES = 1000
NAMES_FILE = pathlib.Path(__file__).with_name("imagenet_names.txt")  # of ImageNet-1k's classes, in label order
MAX_BYTES = 4 << 20


def read_labels(path: pathlib.Path, classes: int) -> list[str]:
    """Read a user's labels.

    Raises:
        InputError: Not readable, not UTF-8, or not one line per class.
    """
    content = read_bounded(path, MAX_BYTES, "a list of class names", name=f"‹labels› {path}")
    try:
        labels = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"‹labels› {path} cannot be read: {error}") from error
    if len(labels) != classes or not all(label.strip() for label in labels):
        count = sum(1 for label in labels if label.strip())
        raise InputError(f"‹labels› {path} names {count} classes, one per line; expected {classes}")
    return labels


def default_labels(classes: int) -> list[str]:
    """Return ImageNet's names, as timm has them, for 1000 classes; else the classes' numbers."""
    if classes != IMAGENET_CLASSES:
        return [str(index) for index in range(classes)]
    return NAMES_FILE.read_text(encoding="ascii").splitlines()
