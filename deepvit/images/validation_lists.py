"""The lists that label a flat folder of ImageNet's validation images: Kaggle's, and the devkit's."""

import csv
import io
import pathlib
import re

from deepvit.runtime.errors import InputError, needed_for, printable
from deepvit.runtime.files import read_bounded

DEVKIT_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
KAGGLE_TRUTH = "LOC_val_solution.csv"
KAGGLE_COLUMNS = ("ImageId", "PredictionString")
MAX_BYTES = 64 << 20  # Kaggle's has 2 MB, the devkit's 0.2 MB
MAX_META_BYTES = 4 << 20  # the devkit's meta.mat has 0.3 MB


def kaggle_labels(path: pathlib.Path, files: list[str], label_of: dict[str, int]) -> list[int]:
    """Label by Kaggle's list: ImageId, and in PredictionString the synset before the boxes."""
    content = read_bounded(path, MAX_BYTES, KAGGLE_TRUTH)
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        columns = reader.fieldnames or ()
        if not set(KAGGLE_COLUMNS) <= set(columns):
            found = printable(", ".join(columns))[:100] or "none"
            raise InputError(f"{path}: expected the columns {', '.join(KAGGLE_COLUMNS)}, got {found}")
        synset_of = {row["ImageId"]: (row["PredictionString"] or "").partition(" ")[0] for row in reader}
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text at byte {error.start}; expected Kaggle's list") from error
    except csv.Error as error:
        raise InputError(f"{path} is not Kaggle's list: {error}") from error
    labels = [label_of.get(synset_of.get(pathlib.PurePosixPath(name).stem, "")) for name in files]
    unknown = [name for name, label in zip(files, labels, strict=True) if label is None]
    if unknown:
        raise InputError(f"{path} has no synset for {len(unknown)} images, the first is {printable(min(unknown))}")
    return [label for label in labels if label is not None]


def devkit_labels(path: pathlib.Path, files: list[str], label_of: dict[str, int]) -> list[int]:
    """Label by the devkit: line i is the ILSVRC2012_ID (1…1000) of ILSVRC2012_val_{i:08}; meta.mat names its synset."""
    lines = read_bounded(path, MAX_BYTES, DEVKIT_TRUTH).decode("ascii", "replace").split()
    meta = path.with_name("meta.mat")
    if not meta.is_file():
        raise InputError(f"{path} needs the devkit's meta.mat beside it, which says which synset an ILSVRC2012_ID is")
    synset_of = _devkit_synsets(meta)
    labels, bad = [], []
    for name in files:
        match = re.search(r"ILSVRC2012_val_(\d{8})\.", name)
        number = int(match[1]) if match else 0
        line = lines[number - 1] if 1 <= number <= len(lines) else ""
        label = label_of.get(synset_of.get(int(line), "")) if re.fullmatch(r"\d{1,4}", line) else None
        if label is None:
            bad.append(name)
        else:
            labels.append(label)
    if bad:
        raise InputError(
            f"{path} ({len(lines)} lines) has no valid label for {len(bad)} images, the first is {printable(bad[0])}"
        )
    return labels


def _devkit_synsets(meta: pathlib.Path) -> dict[int, str]:
    """Read ILSVRC2012_ID → WordNet ID from the devkit's meta.mat."""
    with needed_for("reading the devkit's meta.mat"):  # only this layout needs it
        from scipy.io import loadmat
    content = io.BytesIO(read_bounded(meta, MAX_META_BYTES, "the devkit's meta.mat"))
    try:
        synsets = loadmat(content, squeeze_me=True, struct_as_record=True, variable_names=["synsets"])["synsets"]
        return {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets}
    except Exception as error:  # on a damaged file SciPy's reader raises whatever it stumbles over
        fault = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{meta} is not the devkit's meta.mat: {printable(fault)}") from error
