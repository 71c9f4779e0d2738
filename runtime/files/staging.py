"""Folders that are written as a whole or not at all, whoever else writes, reads or is killed."""

import contextlib
import ctypes
import errno
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator

from ..errors import InputError
from .lock import held_lock
from .replacement import beside, sync
from .room import write_error

STAGING = ".staging"
LOCK, CONTENT = "lock", "content"  # in a staging folder: what says that it is in use, and what becomes the output


@contextlib.contextmanager
def staged_folder(
    output: pathlib.Path, *, marker: str, option: str | None, require: Callable[[], None] | None = None
) -> Iterator[pathlib.Path]:
    """Give a folder to write into, which becomes `output` in one step when the block ends well.

    A process killed at any moment leaves `output` as it was; what it had staged beside it is removed by the next
    one to the same place. An earlier folder of the same kind at `output` is exchanged for the new one, nothing else is
    replaced. Where `output` is a link, the folder that it leads to is replaced, and the link stays.

    Args:
        output: Where the folder shall be.
        marker: The file that every folder of this kind has.
        option: What named `output` on the command line, for errors; None where it is the place of an earlier one.
        require: Called when nobody else can commit to `output` any more; what it raises leaves `output` as it is.

    Raises:
        InputError: `output` cannot be written, or is something else than such a folder.
        MissingError: The disk is full.
    """
    output = pathlib.Path(os.path.realpath(output))
    _refuse_foreign(output, marker, option)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(output)
        with _own_folder(output) as staging:
            yield staging
            if not (staging / marker).is_file():
                raise AssertionError(f"a folder was staged without its {marker}")
            for path in (*staging.rglob("*"), staging):
                sync(path)
            with held_lock(beside(output, "lock"), wait=True):
                _refuse_foreign(output, marker, option)
                if require is not None:
                    require()
                _exchange(staging, output)
    except OSError as error:
        raise write_error(output, option, error) from error


def require_output(output: pathlib.Path, *, marker: str, option: str | None) -> None:
    """Refuse, before long work, what `staged_folder` would refuse in the end; nothing is written.

    Raises:
        InputError: `output` is something else than such a folder, or its place cannot be written to.
    """
    place = pathlib.Path(os.path.realpath(output))
    try:
        _refuse_foreign(place, marker, option)
        above = next(each for each in place.parents if os.path.lexists(each))
        if not above.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(above, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise write_error(place, option, error) from error


@contextlib.contextmanager
def sole_work(output: pathlib.Path, kind: str, refusal: str) -> Iterator[None]:
    """Let no other process do work of this kind for the folder `output`.

    Raises:
        InputError: Another does, as `refusal` says, or the lock beside `output` cannot be made.
    """
    path = beside(pathlib.Path(os.path.realpath(output)), f"{kind}.lock")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(held_lock(path, wait=False))
        except BlockingIOError as error:
            raise InputError(refusal) from error
        except OSError as error:
            raise write_error(path, None, error) from error
        yield


def _refuse_foreign(output: pathlib.Path, marker: str, option: str | None) -> None:
    advice = f"name another one with {option}" if option else "move it away"
    if output.is_dir():
        if any(output.iterdir()) and not (output / marker).is_file():
            raise InputError(f"{output} is a folder of something else; {advice}")
    elif os.path.lexists(output):
        raise InputError(f"{output} is not a folder; {advice}")


def _remove_leftovers(output: pathlib.Path) -> None:
    """Remove what killed processes left staged for the same place: what nobody holds the lock of.

    One that is about to be locked by its maker is taken for a leftover too; its maker sees that and makes another.
    Earlier versions named theirs after their process, and had no lock.
    """
    name = re.escape(beside(output, "").name)
    pattern = re.compile(rf"{name}([a-z0-9_]{{8}}\{STAGING}|\d+\.[a-z0-9_]{{8}})")
    for path in output.parent.iterdir():
        if pattern.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            # It is in use, or is another user's, or another process removes it as well.
            with contextlib.suppress(OSError), held_lock(path / LOCK, wait=False):
                shutil.rmtree(path)


@contextlib.contextmanager
def _own_folder(output: pathlib.Path) -> Iterator[pathlib.Path]:
    """Give an empty folder below one beside `output` that is locked as long as it is there."""
    with contextlib.ExitStack() as stack:
        while True:
            staging = pathlib.Path(tempfile.mkdtemp(prefix=beside(output, "").name, suffix=STAGING, dir=output.parent))
            stack.callback(_remove, staging)
            try:
                stack.enter_context(held_lock(staging / LOCK, wait=False))
                break
            except (BlockingIOError, FileNotFoundError):
                continue  # another took it for a leftover before it was locked
        (staging / CONTENT).mkdir()
        yield staging / CONTENT


def _remove(staging: pathlib.Path) -> None:
    """Remove a folder whatever is in it; an interruption meanwhile is heard when it is gone."""
    try:
        shutil.rmtree(staging, ignore_errors=True)
    except (KeyboardInterrupt, SystemExit):
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _exchange(staging: pathlib.Path, output: pathlib.Path) -> None:
    """Put `staging` in the place of `output`; an artifact that is there ends up at `staging`, to be removed."""
    if not output.exists() or not any(output.iterdir()):
        staging.rename(output)
        return
    exchange_flag, at_cwd = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of Linux
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 and renameat2(at_cwd, os.fsencode(staging), at_cwd, os.fsencode(output), exchange_flag) == 0:
        return
    # A file system without exchange: two renames, between which a kill leaves the old artifact under another name.
    old = beside(output, f"{staging.parent.name.split('.')[-2]}.old")
    output.rename(old)
    staging.rename(output)
    shutil.rmtree(old, ignore_errors=True)
