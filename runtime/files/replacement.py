"""Files that are replaced in one step."""

import contextlib
import os
import pathlib
import re
import secrets
import shutil
import stat
from collections.abc import Iterator

from .lock import held_lock


@contextlib.contextmanager
def replaced(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Give a path beside `path` to write a file at, which becomes `path` in one step when the block ends well.

    What was written is removed when it does not, by the next one to the same place where this process is killed. Where
    `path` is a link, the file that it leads to is replaced. What is no file, a pipe say, or is where this process
    prints cannot be replaced: it is given itself. Errors of the file system are raised as they are.
    """
    if _is_written_in_place(path):
        yield path
        return
    path = pathlib.Path(os.path.realpath(path))
    _remove_parts(path)
    staged = beside(path, f"{secrets.token_hex(8)}.part")  # a name that nobody can have planted
    with held_lock(staged, wait=True):
        if path.exists():
            shutil.copymode(path, staged)
        yield staged
        sync(staged)
        staged.replace(path)


def _is_written_in_place(path: pathlib.Path) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return not stat.S_ISREG(status.st_mode) or any(os.path.samestat(status, each) for each in _printed_to())


def _printed_to() -> Iterator[os.stat_result]:
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):  # it is closed
            yield os.fstat(descriptor)


def _remove_parts(path: pathlib.Path) -> None:
    """Remove what killed processes wrote of the same file: what nobody holds the lock of."""
    pattern = re.compile(rf"{re.escape(beside(path, '').name)}[0-9a-f]{{16}}\.part")
    with contextlib.suppress(OSError):  # a folder that cannot be listed can be written to
        for each in path.parent.iterdir():
            if pattern.fullmatch(each.name):
                with contextlib.suppress(OSError), held_lock(each, wait=False):
                    each.unlink()


def sync(path: pathlib.Path) -> None:
    """Wait until a file or folder is on the disk, which may be full."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def beside(path: pathlib.Path, ending: str) -> pathlib.Path:
    """Return the hidden path beside `path` that is named after it, as much of its name as leaves room, and `ending`."""
    name = os.fsdecode(os.fsencode(path.name)[:200])
    return path.with_name(f".{name}.{ending}")
