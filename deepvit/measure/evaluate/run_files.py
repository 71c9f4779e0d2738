"""The files of an evaluation: what it has found so far, so that another can go on, or need not run the reference."""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import logging
import os
import pathlib
from collections.abc import Iterator, Sequence

from deepvit.images.sources import ImageSource, fingerprint_sha256
from deepvit.runtime.errors import InputError
from deepvit.runtime.files import cache_folder

from ..database import remove_database
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

    An evaluation is the same when its models, their preprocessing, what runs them, the images (name, size, time of
    change), the batch size and the reference are.

    Raises:
        InputError: The same evaluation is running, or the cache folder cannot be used though it was asked for.
    """
    try:
        folder = cache_folder(FOLDER)
    except InputError as error:
        if keeping.resume or keeping.crops:
            raise
        logger.warning("this evaluation cannot be resumed: %s", error)
        yield options
        return
    listed = fingerprint_sha256(source)
    run = _key([[each.key for each in models], reference and reference.key, listed, options.batch_size])
    journal = folder / f"run-{run}.sqlite"
    logits = None
    if reference is not None:
        crops = crops_key(listed, reference.preprocessing)
        logits = folder / f"logits-{_key([reference.key, crops, options.batch_size])}.sqlite"
    with _locked(folder / f"run-{run}.lock"):
        if not keeping.resume:
            remove_database(journal)
        yield dataclasses.replace(
            options,
            journal=journal,
            reference_logits=logits,
            crops=folder / "crops" if keeping.crops else None,
        )
        remove_database(journal)


def _key(parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
    """Hold `path` for this process; the kernel lets go of it however the process ends."""
    with path.open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise InputError(
                f"the same evaluation is running (process {file.read().strip() or 'unknown'}); wait for it, or end it"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
