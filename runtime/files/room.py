"""Whether there is room to write, and what is said where something cannot be written."""

import errno
import os
import pathlib
import shutil

from ..errors import InputError, MissingError


def write_error(path: pathlib.Path, option: str | None, error: OSError) -> InputError | MissingError:
    """Return what the user is told where `path`, which `option` named, cannot be written."""
    place = f"name another place{f' with {option}' if option else ''}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return MissingError(f"no room on the disk to write {path}; free some or {place}")
    return InputError(f"{path} cannot be written: {error.strerror or error}; {place}")


def require_room(path: pathlib.Path, size: int, option: str | None) -> None:
    """Refuse long work of which about `size` bytes would not fit at `path`; what a file there takes already counts.

    Raises:
        MissingError: The disk has less; `option` is what names another place, where there is one.
    """
    place = pathlib.Path(os.path.realpath(path))
    taken = place.stat().st_blocks * 512 if place.is_file() else 0
    free = shutil.disk_usage(next(each for each in (place, *place.parents) if each.exists())).free
    if size - taken > free:
        advice = f"free some or name another place with {option}" if option else "free some"
        raise MissingError(
            f"{path} needs about {_megabytes(size - taken)}, {_megabytes(free)} are free there; {advice}"
        )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.3g} MB" if size < 1e9 else f"{size / 1e9:.3g} GB"
