"""Class names, one per line, in the order of the logits."""

import logging
import pathlib
from collections.abc import Sequence

from deepvit.runtime.artifact.manifest import name_fault
from deepvit.runtime.errors import InputError, first_of
from deepvit.runtime.files import read_bounded

logger = logging.getLogger(__name__)
IMAGENET_CLASSES = 1000
MAX_BYTES = 4 << 20
FAULTS_SHOWN = 3
# ImageNet-1k's classes in label order, as timm's ImageNetInfo describes them: WordNet's synonyms of each synset.
IMAGENET_NAMES = pathlib.Path(__file__).with_name("imagenet_names.txt")


def read_labels(path: pathlib.Path, classes: int) -> list[str]:
    """Read a user's labels; a warning tells of names that stand for several classes.

    Raises:
        InputError: Not readable, not UTF-8, not one line per class, or a line that cannot be a class's name.
    """
    content = read_bounded(path, MAX_BYTES, "a list of class names", name=f"‹labels› {path}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"‹labels› {path} cannot be read: {error}") from error
    lines = text.removesuffix("\n").split("\n") if text else []
    labels = [line.removesuffix("\r").strip(" ") for line in lines]
    faults = [f"line {number} {fault}" for number, label in enumerate(labels, 1) if (fault := name_fault(label))]
    if len(labels) != classes:
        raise InputError(f"‹labels› {path} has {len(labels)} lines, expected a class name in each of {classes}")
    if faults:
        raise InputError(f"‹labels› {path}: {first_of(faults, FAULTS_SHOWN, '; ')}; expected a class name per line")
    _warn_of_doubles(path, labels)
    return labels


def _warn_of_doubles(path: pathlib.Path, labels: list[str]) -> None:
    """Refused they cannot be: two classes of ImageNet are called crane, in its usual lists of names too."""
    places: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        places.setdefault(label, []).append(index)
    doubles = [f"{label} ({', '.join(map(str, found))})" for label, found in places.items() if len(found) > 1]
    if doubles:
        logger.warning("‹labels› %s: names of several classes: %s", path, first_of(doubles, FAULTS_SHOWN))


def default_names(classes: int) -> tuple[str, ...] | None:
    """Return ImageNet's names for 1000 classes; else nobody can tell."""
    if classes != IMAGENET_CLASSES:
        return None
    return tuple(IMAGENET_NAMES.read_text(encoding="utf-8").splitlines())


def names_or_default(names: Sequence[str] | None, classes: int) -> tuple[str, ...]:
    """Return the names that a model brings; else ImageNet's for 1000 classes, else the classes' numbers."""
    return tuple(names or default_names(classes) or map(str, range(classes)))
