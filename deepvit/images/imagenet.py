"""A dataset → (image, label) in an order that does not depend on the machine.

Read are: an ImageNet folder (`val/<synset>/*.JPEG`, `train/…`, or the split's folder itself), a flat `val/` beside the
ILSVRC2012 devkit or Kaggle's `LOC_val_solution.csv`, and by `timm.data.create_dataset` a tar file or anything with a
scheme (`hfds/…`, `tfds/…`, `wds/…`, `torch/…`).
"""

import itertools
import os
import pathlib
import re
from collections.abc import Sequence

from deepvit.runtime.errors import InputError, first_of, printable
from deepvit.runtime.preprocess import FILES, DecodePolicy

from .sources import FolderSource, ImageSource
from .validation_lists import DEVKIT_TRUTH, KAGGLE_TRUTH, devkit_labels, kaggle_labels

EXTENSIONS = (".jpeg", ".jpg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
SYNSETS_FILE = pathlib.Path(__file__).with_name("imagenet_synsets.txt")  # ImageNet-1k's classes in label order
SPLITS = {"val": ("val", "validation", "ILSVRC/Data/CLS-LOC/val"), "train": ("train", "ILSVRC/Data/CLS-LOC/train")}
SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}
VALIDATION_IMAGES = 50_000
FETCHED = re.compile(r"(hfds|hfids|tfds|wds|torch)/")


def open_images(dataset: str, split: str = "val", policy: DecodePolicy = FILES) -> ImageSource:
    """Open any folder of images, labelled or not, in sorted order; for parity and calibration.

    Raises:
        InputError: No such folder, or no images in it.
    """
    if _is_timm_dataset(dataset):
        return _timm_source(dataset, split, policy)
    folder, files = _listed_folder(dataset, split)
    return FolderSource(folder, tuple((name, None) for name in files), policy)


def open_dataset(dataset: str, classes: int, split: str = "val", policy: DecodePolicy = FILES) -> ImageSource:
    """Open a labelled dataset for a model of `classes` classes.

    Class folders that all bear ImageNet synset names are labelled by ImageNet's order, even when some are missing;
    otherwise there must be as many folders as classes, in natural order (2 before 10), as timm labels them.

    Raises:
        InputError: No such folder, no images, no labels, or labels that cannot be those of the model.
    """
    if _is_timm_dataset(dataset):
        return _timm_source(dataset, split, policy)
    folder, files = _listed_folder(dataset, split)
    if folder == pathlib.Path(dataset):
        _refuse_other_splits(folder, files, split)
    labels = _labels_by_folder(folder, files, classes) if "/" in files[0] else _labels_by_truth(folder, files, classes)
    return FolderSource(folder, tuple(zip(files, labels, strict=True)), policy)


def is_labelled(dataset: str, classes: int) -> bool:
    """Return whether `open_dataset` takes it for a model of `classes` classes; timm's datasets are taken to be."""
    if _is_timm_dataset(dataset):
        return True
    try:
        open_dataset(dataset, classes)
    except InputError:
        return False
    return True


def has_split(dataset: str, split: str) -> bool:
    """Return whether the dataset has a folder for `split`, or is one of timm's, which all have both."""
    if _is_timm_dataset(dataset):
        return not dataset.endswith(".tar")
    return any(_is_folder(pathlib.Path(dataset) / name) for name in SPLITS[split])


def _is_folder(path: pathlib.Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long, or no right to look
        return False


def _listed_folder(dataset: str, split: str) -> tuple[pathlib.Path, list[str]]:
    """Return the split's folder and the image files in it."""
    root = pathlib.Path(dataset)
    if not _is_folder(root):
        try:
            what = "is not a folder" if root.exists() else "does not exist"
        except OSError as error:
            what = f"cannot be opened: {error.strerror}"
        raise InputError(f"dataset {printable(dataset)} {what}; expected a folder with {split}/<synset>/*.JPEG")
    folder = next((root / name for name in SPLITS[split] if _is_folder(root / name)), root)
    files = _image_files(folder)
    if not files:
        raise InputError(f"no images in {printable(str(folder))}; expected {split}/<synset>/*.JPEG or image files")
    return folder, files


def _refuse_other_splits(folder: pathlib.Path, files: Sequence[str], split: str) -> None:
    """Refuse a folder that has no split of this name but others, whose images would be taken for it.

    Class folders may be called "train" or "test" too, where others are beside them.

    Raises:
        InputError: Class folders are below folders with names of splits, or all images lie in such.
    """
    folders = [file.split("/")[:-1] for file in files]
    above = {part for parts in folders for part in parts[:-1] if part.lower() in SPLIT_NAMES}
    last = {parts[-1] for parts in folders if parts}
    found = above or (last if all(name.lower() in SPLIT_NAMES for name in last) else set())
    if found:
        names = first_of([f"{printable(name)}/" for name in sorted(found)], 5)
        raise InputError(
            f"{printable(str(folder))} has {names} but no {split}/; expected {split}/<synset>/*.JPEG, in small letters;"
            " or name the folder itself whose images are meant"
        )


def _image_files(folder: pathlib.Path) -> list[str]:
    """Return the image files in class folders, else those in the folder itself, as sorted relative POSIX paths.

    Links to folders are followed, as timm does. Links to nothing are listed too, so that reading them fails by name.

    Raises:
        InputError: A folder that cannot be read, or that links lead to a second time.
    """
    names: list[str] = []
    seen: dict[tuple[int, int], str] = {}
    pending = [""]
    while pending:
        below = pending.pop()
        path = folder / below
        try:
            status = path.stat()
            entries = list(os.scandir(path))
        except OSError as error:
            raise InputError(f"folder {printable(str(path))} cannot be read: {error.strerror}") from error
        first = seen.setdefault((status.st_dev, status.st_ino), below)
        if first != below:
            raise InputError(
                f"{printable(str(path))} is the same folder as {printable(str(folder / first))}; remove the link"
            )
        pending += [f"{below}{entry.name}/" for entry in entries if _leads_to_folder(entry)]
        names += [f"{below}{entry.name}" for entry in entries if _is_image_file(entry)]
    nested = [name for name in names if "/" in name]
    return sorted(nested or names)


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, say
        return False


def _is_image_file(entry: os.DirEntry[str]) -> bool:
    suffix = pathlib.PurePath(entry.name).suffix.lower()
    if suffix not in EXTENSIONS or entry.name.startswith("."):
        return False
    try:
        return entry.is_file() or (entry.is_symlink() and not pathlib.Path(entry).exists())
    except OSError:
        return True  # so that reading it says why


def _natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return what timm sorts class folders by: numbers by their value, letters without regard to case."""
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part), "") if place % 2 else (1, 0, part) for place, part in enumerate(parts)]


def _in_natural_order(folder: pathlib.Path, names: set[str]) -> list[str]:
    ordered = sorted(names, key=lambda name: (_natural_key(name), name))
    for one, other in itertools.pairwise(ordered):
        if _natural_key(one) == _natural_key(other):
            equal = [printable(name) for name in ordered if _natural_key(name) == _natural_key(one)]
            raise InputError(
                f"{printable(str(folder))}: class folders {first_of(equal, 5)} differ in zeros or letter case alone, "
                "so that they have no order as labels; rename them"
            )
    return ordered


def _labels_by_folder(folder: pathlib.Path, files: list[str], classes: int) -> list[int]:
    names = [name.rsplit("/", 1)[0] for name in files]
    synsets = SYNSETS_FILE.read_text(encoding="ascii").split()
    is_imagenet = classes == len(synsets) and set(names) <= set(synsets)
    folders = synsets if is_imagenet else _in_natural_order(folder, set(names))
    if len(folders) != classes:
        shown = ", ".join(printable(name) for name in folders[:3])
        raise InputError(
            f"{printable(str(folder))} has {len(folders)} class folders ({shown}{', …' if len(folders) > 3 else ''}), "
            f"the model has {classes} classes; expected one folder per class, or ImageNet synsets"
        )
    label_of = {name: label for label, name in enumerate(folders)}
    return [label_of[name] for name in names]


def _labels_by_truth(folder: pathlib.Path, files: list[str], classes: int) -> list[int]:
    """Label a flat folder by the devkit's or Kaggle's list, which lie in the dataset's root or below it."""
    synsets = SYNSETS_FILE.read_text(encoding="ascii").split()
    bases = (folder, *list(folder.parents)[:4])
    for base in bases:
        for path in (base / KAGGLE_TRUTH, *sorted(base.glob(f"*/data/{DEVKIT_TRUTH}")), base / DEVKIT_TRUTH):
            if path.is_file():
                if classes != len(synsets):
                    raise InputError(f"{path} labels ImageNet's {len(synsets)} classes, the model has {classes}")
                read = kaggle_labels if path.name == KAGGLE_TRUTH else devkit_labels
                return read(path, files, {name: label for label, name in enumerate(synsets)})
    raise InputError(
        f"{printable(str(folder))} has images but no labels; expected class folders, or the devkit's "
        f"{DEVKIT_TRUTH} or Kaggle's {KAGGLE_TRUTH} beside it"
    )


def require_local(dataset: str) -> None:
    """Refuse to look into what timm would have to fetch for it.

    Raises:
        InputError: A dataset with a scheme, as in hfds/….
    """
    if FETCHED.match(dataset):
        raise InputError(
            f"{printable(dataset)} would be fetched to look into it; ‹dry_run› takes folders and tar files"
        )


def _is_timm_dataset(dataset: str) -> bool:
    if FETCHED.match(dataset):
        return True
    try:
        return dataset.endswith(".tar") and pathlib.Path(dataset).is_file()
    except OSError:
        return False


def _timm_source(dataset: str, split: str, policy: DecodePolicy) -> ImageSource:
    from .timm_dataset import TimmSource  # loads timm, hence torch; only for what the folders do not cover

    return TimmSource(dataset, split, policy)
