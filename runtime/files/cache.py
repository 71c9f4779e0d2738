"""Folders for what can be made again, as TensorRT's timings can."""

import errno
import os
import pathlib

from ..errors import InputError


def cache_root() -> pathlib.Path:
    """Return $DEEPVIT_CACHE, else deepvit/ in the user's cache folder; it may be missing."""
    if chosen := os.environ.get("DEEPVIT_CACHE"):
        return pathlib.Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "deepvit"


def cache_folder(*names: str) -> pathlib.Path:
    """Return folder `names` below `cache_root`, made if missing; links are resolved.

    What lies there is believed, and some of it is loaded as code, so that nobody else may write to any folder from the
    root down: who can write to one can put another in the place of those below.

    Raises:
        InputError: It cannot be made, belongs to another user, or others can write to it.
    """
    folder = pathlib.Path(os.path.realpath(cache_root()))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _make_own(folder)
        for name in names:
            folder = pathlib.Path(os.path.realpath(folder / name))
            _make_own(folder)
    except OSError as error:
        raise InputError(f"cache folder {folder} cannot be made: {error.strerror}; set DEEPVIT_CACHE") from error
    return folder


def _make_own(folder: pathlib.Path) -> None:
    try:
        folder.mkdir(exist_ok=True, mode=0o700)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from error
    status = folder.stat()
    if hasattr(os, "getuid") and status.st_uid != os.getuid():
        raise InputError(f"cache folder {folder} belongs to another user (number {status.st_uid}); set DEEPVIT_CACHE")
    if status.st_mode & 0o022:
        raise InputError(f"cache folder {folder} can be written by others, who could plant an engine; chmod 700 it")
