"""A dataset → (image, label) in an order that does not depend on the machine.

Read are: an ImageNet folder (`val/<synset>/*.JPEG`, `train/…`, or the split's folder itself), a flat `val/` beside the
ILSVRC2012 devkit or Kaggle's `LOC_val_solution.csv`, and by `timm.data.create_dataset` a tar file or anything with a
scheme (`hfds/…`, `tfds/…`, `wds/…`, `torch/…`).
"""

import csv
import pathlib
import re

from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.preprocess import FILES, DecodePolicy

from .sources import FolderSource, ImageSource

EXTENSIONS = (".jpeg", ".jpg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
SYNSETS_FILE = pathlib.Path(__file__).with_name("imagenet_synsets.txt")  # ImageNet-1k's classes in label order
DEVKIT_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
KAGGLE_TRUTH = "LOC_val_solution.csv"
SPLITS = {"val": ("val", "validation", "ILSVRC/Data/CLS-LOC/val"), "train": ("train", "ILSVRC/Data/CLS-LOC/train")}
VALIDATION_IMAGES = 50_000


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
    labels = _labels_by_folder(folder, files, classes) if "/" in files[0] else _labels_by_truth(folder, files, classes)
    return FolderSource(folder, tuple(zip(files, labels, strict=True)), policy)


def has_split(dataset: str, split: str) -> bool:
    """Return whether the dataset has a folder for `split`, or is one of timm's, which all have both."""
    if _is_timm_dataset(dataset):
        return not dataset.endswith(".tar")
    return any((pathlib.Path(dataset) / name).is_dir() for name in SPLITS[split])


def _listed_folder(dataset: str, split: str) -> tuple[pathlib.Path, list[str]]:
    """Return the split's folder and the image files in it."""
    root = pathlib.Path(dataset)
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise InputError(f"dataset {root} {what}; expected a folder with {split}/<synset>/*.JPEG")
    folder = next((root / name for name in SPLITS[split] if (root / name).is_dir()), root)
    files = _image_files(folder)
    if not files:
        raise InputError(f"no images in {folder}; expected {split}/<synset>/*.JPEG or image files")
    return folder, files


def _image_files(folder: pathlib.Path) -> list[str]:
    """Return the image files in class folders, else those in the folder itself, as sorted relative POSIX paths."""
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()
    )
    nested = [name for name in names if "/" in name]
    return nested or names


def _natural_key(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def _labels_by_folder(folder: pathlib.Path, files: list[str], classes: int) -> list[int]:
    names = [name.rsplit("/", 1)[0] for name in files]
    folders = sorted(set(names), key=_natural_key)
    synsets = SYNSETS_FILE.read_text(encoding="ascii").split()
    if classes == len(synsets) and set(folders) <= set(synsets):
        folders = synsets
    if len(folders) != classes:
        shown = ", ".join(folders[:3])
        raise InputError(
            f"{folder} has {len(folders)} class folders ({shown}{', …' if len(folders) > 3 else ''}), the model has "
            f"{classes} classes; expected one folder per class, or ImageNet synsets"
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
                read = _kaggle_labels if path.name == KAGGLE_TRUTH else _devkit_labels
                return read(path, files, {name: label for label, name in enumerate(synsets)})
    raise InputError(
        f"{folder} has images but no labels; expected class folders, or the devkit's {DEVKIT_TRUTH} or Kaggle's "
        f"{KAGGLE_TRUTH} beside it"
    )


def _kaggle_labels(path: pathlib.Path, files: list[str], label_of: dict[str, int]) -> list[int]:
    with path.open(newline="", encoding="utf-8") as stream:
        rows = {row["ImageId"]: row["PredictionString"].split(" ")[0] for row in csv.DictReader(stream)}
    unknown = sorted(name for name in files if rows.get(pathlib.PurePosixPath(name).stem) not in label_of)
    if unknown:
        raise InputError(f"{path} has no synset for {len(unknown)} images, the first is {unknown[0]}")
    return [label_of[rows[pathlib.PurePosixPath(name).stem]] for name in files]


def _devkit_labels(path: pathlib.Path, files: list[str], label_of: dict[str, int]) -> list[int]:
    """Label by the devkit: line i is the ILSVRC2012_ID (1…1000) of ILSVRC2012_val_{i:08}; meta.mat names its synset."""
    lines = path.read_text(encoding="ascii", errors="replace").split()
    meta = path.with_name("meta.mat")
    if not meta.is_file():
        raise InputError(f"{path} needs the devkit's meta.mat beside it, which says which synset an ILSVRC2012_ID is")
    synset_of = _devkit_synsets(meta)
    labels, bad = [], []
    for name in files:
        match = re.search(r"ILSVRC2012_val_(\d{8})\.", name)
        number = int(match[1]) if match else 0
        line = lines[number - 1] if 1 <= number <= len(lines) else ""
        label = label_of.get(synset_of.get(int(line), "")) if line.isdigit() else None
        if label is None:
            bad.append(name)
        else:
            labels.append(label)
    if bad:
        raise InputError(f"{path} ({len(lines)} lines) has no valid label for {len(bad)} images, the first is {bad[0]}")
    return labels


def _devkit_synsets(meta: pathlib.Path) -> dict[int, str]:
    """Read ILSVRC2012_ID → WordNet ID from the devkit's meta.mat."""
    try:
        from scipy.io import loadmat  # only this layout needs it
        from scipy.io.matlab import MatReadError
    except ImportError as error:
        raise MissingError("reading the devkit's meta.mat needs scipy; pip install scipy") from error
    try:
        synsets = loadmat(meta, squeeze_me=True, struct_as_record=True)["synsets"]
        return {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets}
    except (MatReadError, ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(f"{meta} is not the devkit's meta.mat: {error}") from error


def _is_timm_dataset(dataset: str) -> bool:
    return bool(re.match(r"(hfds|hfids|tfds|wds|torch)/", dataset)) or (
        dataset.endswith(".tar") and pathlib.Path(dataset).is_file()
    )


def _timm_source(dataset: str, split: str, policy: DecodePolicy) -> ImageSource:
    from .timm_dataset import TimmSource  # loads timm, hence torch; only for what the folders do not cover

    return TimmSource(dataset, split, policy)
