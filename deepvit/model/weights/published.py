"""The published checkpoints: fetched once, their SHA-256 recorded at first use and checked ever after."""

import logging
import pathlib
import re

from deepvit.runtime.errors import InputError, MissingError, needed_for
from deepvit.runtime.files import cache_folder, replaced

from ..row import Variant
from ..variants import VARIANTS
from .addresses import record_sha256, verify_recorded
from .checkpoint import Checkpoint, EmaChoice, read_checkpoint

logger = logging.getLogger(__name__)

MOST_WHY = 120
TRAINED_HERE = pathlib.Path(__file__).resolve().parent / "trained"


def fetch_checkpoint(variant: Variant, ema: EmaChoice = EmaChoice.PREFER) -> Checkpoint:
    """Return the published (or bundled) checkpoint of `variant`, downloading it when the cache lacks it.

    Raises:
        InputError: Nothing is published for this variant, or the cached file is not what was first fetched.
        MissingError: gdown is not installed, or the download failed.
    """
    if variant.bundled_weights is not None:
        return read_checkpoint(TRAINED_HERE / variant.bundled_weights, ema)
    if variant.drive_id is None:
        published = ", ".join(v.name for v in VARIANTS.values() if v.drive_id)
        raise InputError(f"no checkpoint of {variant.name} is published, only of {published}; give one: ‹checkpoint›")
    path = cache_folder() / f"{variant.name}.pth.tar"
    if not path.is_file():
        _download(variant.drive_id, path)
    verify_recorded(path)
    checkpoint = read_checkpoint(path, ema)
    record_sha256(path, checkpoint.sha256)
    return checkpoint


def _download(drive_id: str, path: pathlib.Path) -> None:
    with needed_for("fetching a published checkpoint"):
        import gdown

    logger.info("fetching %s from Google Drive", path.name)
    try:
        with replaced(path) as staged:
            got = gdown.download(id=drive_id, output=str(staged), quiet=False)
            if got is None or not staged.is_file():
                raise MissingError(_download_failed(drive_id, path, "no file came"))
    # gdown raises its own errors and those of requests, which derives all of its own from OSError.
    except (OSError, RuntimeError, gdown.exceptions.DownloadError) as error:
        raise MissingError(_download_failed(drive_id, path, _brief(error))) from error


def _brief(error: Exception) -> str:
    """Return the first line of an error in at most `MOST_WHY` characters; of one of requests its cause alone."""
    line, *_ = str(error).strip().splitlines() or [type(error).__name__]
    if cause := re.search(r"\(Caused by \w+\((.*)\)\)$", line):
        line = cause[1].strip("\"'").partition(": ")[2] or cause[1]
    return line if len(line) <= MOST_WHY else f"{line[:MOST_WHY]}…"


def _download_failed(drive_id: str, path: pathlib.Path, why: str) -> str:
    return f"could not fetch https://drive.google.com/uc?id={drive_id}: {why}; download it by hand to {path}"
