"""The files of an evaluation: what it has found so far, so that another can go on, or need not run the reference."""

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import pathlib
from collections.abc import Iterator, Sequence

from deepvit.images import blocks
from deepvit.images.sources import ImageSource, fingerprint_sha256
from deepvit.runtime.errors import InputError
from deepvit.runtime.files import cache_folder, held_lock, write_error

from ..database import move_aside, remove_database
from ..models import Contestant
from .crop_cache import crops_key
from .options import EvaluationOptions, Keeping

logger = logging.getLogger(__name__)
FOLDER = "evaluation"


@contextlib.contextmanager
def options_with_files(
    options: EvaluationOptions,
    models: Sequence[Contestant],
    reference: Contestant | None,
    source: ImageSource,
    keeping: Keeping,
) -> Iterator[EvaluationOptions]:
    """Give `options` with the files of this evaluation in the cache folder; its journal goes when the block ends well.

    The files are found by the models, what runs them, their preprocessing, the code and Pillow that do it, the images
    (name, size, time of change), the batch size, the reference, and the code that scores. What is in them counts for
    images of the same content alone.

    Raises:
        InputError: The same evaluation is running, or the cache folder cannot be used though it was asked for.
        MissingError: The disk is full.
    """
    folder = _folder(keeping)
    if folder is None:
        yield options
        return
    listed = fingerprint_sha256(source)
    everyone = [*models, *([] if reference is None else [reference])]
    crops_keys = [crops_key(listed, each.preprocessing) for each in everyone]
    contest = [[each.key for each in models], reference and reference.key, crops_keys, options.batch_size]
    run = _key([contest, _code_sha256()])
    journal = folder / f"run-{run}.sqlite"
    logits = None
    if reference is not None:
        logits = folder / f"logits-{_key([reference.key, crops_keys[-1], options.batch_size])}.sqlite"
    with _locked(folder / f"run-{run}.lock"):
        if not keeping.resume:
            _remove(journal)
        yield dataclasses.replace(
            options,
            journal=journal,
            reference_logits=logits,
            crops=cache_folder(FOLDER, "crops") if keeping.crops else None,
        )
        _remove(journal)


def _folder(keeping: Keeping) -> pathlib.Path | None:
    """Return the cache's folder; None where it cannot be used and nothing was asked to be kept."""
    try:
        folder = cache_folder(FOLDER)
        if not os.access(folder, os.W_OK):
            raise InputError(f"cache folder {folder} cannot be written; set DEEPVIT_CACHE")
    except InputError as error:
        if keeping.resume or keeping.crops:
            raise
        logger.warning("this evaluation cannot be resumed: %s", error)
        return None
    return folder


def _key(parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _code_sha256() -> str:
    """Return the hash of this package and of the blocks, other versions of which may note other things of an image."""
    files = sorted([*pathlib.Path(__file__).parent.glob("*.py"), pathlib.Path(blocks.__file__)])
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _remove(journal: pathlib.Path) -> None:
    try:
        remove_database(journal)
    except OSError as error:
        raise InputError(f"{journal} cannot be removed: {error.strerror}; set DEEPVIT_CACHE") from error


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
    """Hold `path` for this process."""
    with contextlib.ExitStack() as stack:
        try:
            move_aside(path)
            stack.enter_context(held_lock(path, wait=False))
        except BlockingIOError as error:
            raise InputError(f"the same evaluation is running, it holds {path}; wait for it, or end it") from error
        except OSError as error:
            raise write_error(path, "DEEPVIT_CACHE", error) from error
        yield
