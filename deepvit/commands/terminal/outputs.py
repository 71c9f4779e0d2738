"""Where a command may write: in a folder that exists, over no file of an artifact or one that it reads, none twice."""

import os
import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from deepvit.runtime.artifact import MANIFEST, open_artifact
from deepvit.runtime.errors import InputError

if TYPE_CHECKING:
    from deepvit.export.options import ExportOptions
    from deepvit.measure.options import WeightOptions

PLOT, PICTURES = "plot", (".png", ".svg", ".pdf")
PARTS = (".onnx", ".plan")  # of an artifact, whatever its manifest says


def check_outputs(*, reads: Iterable[str | pathlib.Path | None] = (), **outputs: pathlib.Path | None) -> None:
    """Refuse early what could not be written in the end, or would replace what nobody wants replaced.

    Args:
        reads: What the command reads, as far as that are files.
        outputs: Option → the file that it names; links are followed.

    Raises:
        InputError: No file in a folder that exists, a file of an artifact, one that is read, or the same as another.
    """
    taken = {os.path.realpath(each): "is a file that this command reads" for each in reads if each is not None}
    for option, path in outputs.items():
        if path is None:
            continue
        if path.is_dir() or not path.parent.is_dir():
            raise InputError(f"--{option} {path} cannot be written: expected a file in an existing folder")
        if option == PLOT and path.suffix not in PICTURES:
            raise InputError(f"--{option} {path}: expected a file that ends in {', '.join(PICTURES)}")
        place = os.path.realpath(path)
        folder = _artifact_of(pathlib.Path(place))
        if why := taken.get(place) if folder is None else f"is a file of the artifact in {folder}":
            raise InputError(f"--{option} {path} {why}; name another file")
        taken[place] = f"is the file of --{option} too"


def _artifact_of(path: pathlib.Path) -> pathlib.Path | None:
    """Return the folder of the artifact of which `path` is a file; None where it is of none."""
    if not path.is_file() or not (path.parent / MANIFEST).is_file():
        return None
    if path.name == MANIFEST or path.suffix in PARTS:
        return path.parent
    try:
        return path.parent if path.name in open_artifact(path.parent).manifest.files else None
    except InputError:
        return None  # it is the manifest of something else


def check_artifact_place(variant: str, options: "ExportOptions", weights: "WeightOptions") -> None:
    """Refuse an export in the place of an artifact of something else; an export of the same is replaced, as it must be.

    Raises:
        InputError: There is another variant or precision, or trained weights where random ones would come.
    """
    folder = options.artifact_folder(variant)
    if not (folder / MANIFEST).is_file():
        return
    try:
        manifest = open_artifact(folder).manifest
    except InputError:
        return  # damaged, or of a version that nobody can read
    there = f"{folder} holds {manifest.variant} in {manifest.precision.value.upper()}"
    advice = "name another folder with --output, or remove it"
    if (manifest.variant, manifest.precision) != (variant, options.graph.precision):
        raise InputError(f"{there}, which {variant} in {options.graph.precision.value.upper()} would replace; {advice}")
    if weights.are_random and not manifest.has_random_weights:
        sha256 = manifest.weights.sha256[:16]
        raise InputError(
            f"{there} of trained weights (SHA-256 {sha256}…), which random ones would replace; give --checkpoint or "
            f"--pretrained, or {advice}"
        )
