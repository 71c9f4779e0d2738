"""Files that are read or replaced, and folders for what can be made again, as TensorRT's timings can."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

from .errors import InputError


def cache_root() -> pathlib.Path:
    """Return $DEEPVIT_CACHE, else deepvit/ in the user's cache folder; it may be missing."""
    if chosen := os.environ.get("DEEPVIT_CACHE"):
        return pathlib.Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "deepvit"


def cache_folder(*names: str) -> pathlib.Path:
    """Return folder `names` below `cache_root`, made if missing.

    What lies there is loaded as code, so that nobody else may write to it.

    Raises:
        InputError: It cannot be made, or others can write to it.
    """
    folder = cache_root().joinpath(*names)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.stat()
    except OSError as error:
        raise InputError(f"cache folder {folder} cannot be made: {error.strerror}; set DEEPVIT_CACHE") from error
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
        raise InputError(f"cache folder {folder} can be written by others, who could plant an engine; chmod 700 it")
    return folder


def read_bounded(path: pathlib.Path, most: int, kind: str, *, name: str | None = None) -> bytes:
    """Return the bytes of `path`, of which `kind`, "a manifest" say, has at most `most`.

    Raises:
        InputError: It cannot be read, or has more; `name`, or the path, says which file.
    """
    name = name or str(path)
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= most else b""
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from error
    if size > most:
        raise InputError(f"{name} has {size} bytes, {kind} has at most {most}")
    return content


@contextlib.contextmanager
def replaced(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Give a path beside `path` to write a file at, which becomes `path` in one step when the block ends well.

    What was written is removed when it does not. Errors of the file system are raised as they are.
    """
    staged = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield staged
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
