"""SQLite files of what can be found again: opened sound, or begun anew."""

import contextlib
import hashlib
import json
import logging
import os
import pathlib
import sqlite3
import time
from collections.abc import Iterator

from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.files import cache_folder, held_lock, write_error

logger = logging.getLogger(__name__)
BUSY_S = 120  # how long a process waits while another one writes
BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
OURS = -1  # the code of an error that is not SQLite's own
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, OURS)  # all others are of the machine, not of the file
SUFFIXES = ("", "-wal", "-shm")  # of a database, and of what SQLite keeps beside it


def open_database(path: pathlib.Path | None, table: str) -> sqlite3.Connection:
    """Open a database of one table that survives a kill at any moment, and costs no wait for the disk at every write.

    Args:
        path: The file, made if missing; one that is damaged, or something else, is removed with a warning and made
            anew. Where None, one without a name, on the disk as soon as it is large, that goes with this process.
        table: The CREATE statement of its table.

    Raises:
        InputError: The file cannot be opened or written, or is in use.
        MissingError: The disk is full.
    """
    try:
        return _opened(path, table)
    except sqlite3.Error as error:
        if path is None or not _is_lost(path, error):
            raise sqlite_error(path, error) from error
        fault = error
    try:
        remove_database(path)
        connection = _opened(path, table)
    except OSError as error:
        raise sqlite_error(path, fault) from error
    except sqlite3.Error as error:
        raise sqlite_error(path, error) from error
    logger.warning("%s was damaged (%s); what it kept is found anew", path, fault)
    return connection


def _is_lost(path: pathlib.Path, error: sqlite3.Error) -> bool:
    """Return whether nothing can be read at `path` any more: who may not open a sound file now may do so later."""
    files = [path.with_name(path.name + suffix) for suffix in SUFFIXES]
    return (path.exists() and _code(error) in DAMAGED) or any(each.exists() and not each.is_file() for each in files)


def _opened(path: pathlib.Path | None, table: str) -> sqlite3.Connection:
    connection = sqlite3.connect("" if path is None else path, timeout=BUSY_S)
    connection.text_factory = bytes  # whatever lies there, it can be read
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        with connection:
            connection.execute(table.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1))
        if (said := connection.execute("PRAGMA quick_check(1)").fetchone()) != (b"ok",):
            raise sqlite3.DatabaseError(f"it says {said}")
        if connection.execute("SELECT sql FROM sqlite_master").fetchall() != [(table.encode(),)]:
            raise sqlite3.DatabaseError("it has other tables")
    except BaseException:
        connection.close()
        raise
    return connection


def sqlite_error(path: pathlib.Path | None, error: sqlite3.Error) -> InputError | MissingError:
    """Return our error for one of SQLite's."""
    if _code(error) == sqlite3.SQLITE_FULL or "full" in str(error):
        return MissingError(f"no room on the disk to write {path}; free some, or set DEEPVIT_CACHE to another folder")
    if _code(error) in BUSY:
        return InputError(f"{path} is in use by another process; wait for it, or set DEEPVIT_CACHE to another folder")
    remedy = "delete it" if _code(error) in DAMAGED else "see whether it and its folder can be written"
    return InputError(f"{path} cannot be used ({error}); {remedy}, or set DEEPVIT_CACHE to another folder")


def _code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; OURS where the error is not its own."""
    code = getattr(error, "sqlite_errorcode", None)
    return OURS if code is None else int(code) & 0xFF


def remove_database(path: pathlib.Path) -> None:
    """Remove a database and what SQLite keeps beside it; what is not a file is moved aside.

    Raises:
        OSError: It cannot be.
    """
    for suffix in SUFFIXES:
        move_aside(path.with_name(path.name + suffix))
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def move_aside(path: pathlib.Path) -> None:
    """Give what lies at `path` and is no file, a folder say, another name, so that a file can be made there.

    Raises:
        OSError: It cannot be.
    """
    if path.exists() and not path.is_file():
        aside = path.rename(path.with_name(f"{path.name}.{time.time_ns()}.aside"))
        logger.warning("%s is not a file; it is now %s", path, aside.name)


def kept_folder(name: str, loss: str, *, is_asked: bool) -> pathlib.Path | None:
    """Return the folder `name` of the cache; None, with a warning of the `loss`, where it cannot be used.

    Raises:
        InputError: It cannot, and something was asked to be kept there.
    """
    try:
        folder = cache_folder(name)
        if not os.access(folder, os.W_OK):
            raise InputError(f"cache folder {folder} cannot be written; set DEEPVIT_CACHE")
    except InputError as error:
        if is_asked:
            raise
        logger.warning("%s: %s", loss, error)
        return None
    return folder


def content_key(parts: object) -> str:
    """Return what files of these `parts`, which JSON can hold, are called by."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


@contextlib.contextmanager
def sole_database(path: pathlib.Path, refusal: str, *, resume: bool) -> Iterator[None]:
    """Keep a database for this process, begun anew unless it shall `resume`; it is removed when the block ends well.

    Raises:
        InputError: Another process has it, as `refusal` says, or it cannot be removed.
    """
    with _locked(path.with_suffix(".lock"), refusal):
        if not resume:
            _remove(path)
        yield
        _remove(path)


def _remove(path: pathlib.Path) -> None:
    try:
        remove_database(path)
    except OSError as error:
        raise InputError(f"{path} cannot be removed: {error.strerror}; set DEEPVIT_CACHE") from error


@contextlib.contextmanager
def _locked(path: pathlib.Path, refusal: str) -> Iterator[None]:
    """Hold `path` for this process."""
    with contextlib.ExitStack() as stack:
        try:
            move_aside(path)
            stack.enter_context(held_lock(path, wait=False))
        except BlockingIOError as error:
            raise InputError(f"{refusal}, it holds {path}; wait for it, or end it") from error
        except OSError as error:
            raise write_error(path, "DEEPVIT_CACHE", error) from error
        yield
