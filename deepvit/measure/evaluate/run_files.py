"""The files of an evaluation: what it has found so far, so that another can go on, or need not run the reference."""

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import json
import logging
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import TextIO

from deepvit.images.sources import ImageSource, fingerprint_sha256, printable
from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.files import cache_folder

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

    The files are found by the models, their preprocessing, what runs them, the images (name, size, time of change), the
    batch size, the reference, and the code that scores. What is in them counts for images of the same content alone.

    Raises:
        InputError: The same evaluation is running, or the cache folder cannot be used though it was asked for.
        MissingError: The disk is full.
    """
    folder = _folder(keeping)
    if folder is None:
        yield options
        return
    listed = fingerprint_sha256(source)
    contest = [[each.key for each in models], reference and reference.key, listed, options.batch_size]
    run = _key([contest, _code_sha256()])
    journal = folder / f"run-{run}.sqlite"
    logits = None
    if reference is not None:
        crops = crops_key(listed, reference.preprocessing)
        logits = folder / f"logits-{_key([reference.key, crops, options.batch_size])}.sqlite"
    with _locked(folder / f"run-{run}.lock"):
        if not keeping.resume:
            _remove(journal)
        yield dataclasses.replace(
            options,
            journal=journal,
            reference_logits=logits,
            crops=folder / "crops" if keeping.crops else None,
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
    """Return the hash of this package, another version of which may note other things of an image."""
    files = sorted(pathlib.Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _remove(journal: pathlib.Path) -> None:
    try:
        remove_database(journal)
    except OSError as error:
        raise InputError(f"{journal} cannot be removed: {error.strerror}; set DEEPVIT_CACHE") from error


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
    """Hold `path` for this process; the kernel lets go of it however the process ends."""
    try:
        move_aside(path)
        file = _locked_file(path)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise MissingError(f"no room on the disk to write {path}; free some, or set DEEPVIT_CACHE") from error
        raise InputError(f"{path} cannot be written: {error.strerror}; set DEEPVIT_CACHE") from error
    with file:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _locked_file(path: pathlib.Path) -> TextIO:
    """Return the file at `path`, locked.

    Who held it last may remove it between its opening and its locking here; what is locked then is no longer what
    others find at `path`, and it is tried again.
    """
    while True:
        file = path.open("a+", encoding="utf-8", errors="replace")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    return file
        except BlockingIOError as error:
            file.seek(0)
            holder = printable(file.read(20).strip()) or "unknown"
            file.close()
            raise InputError(f"the same evaluation is running (process {holder}); wait for it, or end it") from error
        file.close()
