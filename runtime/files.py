"""Files that are read, locked or replaced, and folders for what can be made again, as TensorRT's timings can."""

import contextlib
import errno
import fcntl
import io
import os
import pathlib
import re
import secrets
import shutil
import stat
from collections.abc import Iterator

from .errors import InputError, MissingError


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


@contextlib.contextmanager
def open_bounded(path: pathlib.Path, most: int, kind: str, *, name: str | None = None) -> Iterator[io.BufferedReader]:
    """Give the opened `path`, a regular file, of which `kind`, "a manifest" say, has at most `most` bytes.

    Raises:
        InputError: It cannot be read, is a folder, a pipe or a device, or has more; `name`, or the path, says which.
    """
    name = name or str(path)
    try:
        stream = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 - its own errors are not those of the block
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise InputError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    with stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{name} is no regular file but a pipe, socket or device; give a file")
        if status.st_size > most:
            raise InputError(f"{name} has {status.st_size} bytes, {kind} has at most {most}")
        yield stream


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for the other end of a pipe; with a regular file it makes no difference."""
    return os.open(path, flags | os.O_NONBLOCK)


def read_bounded(path: pathlib.Path, most: int, kind: str, *, name: str | None = None) -> bytes:
    """Return the bytes of `path`; see `open_bounded`. Of a file that grows meanwhile, those that it had.

    Raises:
        InputError: As `open_bounded`, or reading failed.
    """
    with open_bounded(path, most, kind, name=name) as stream:
        try:
            return stream.read(os.fstat(stream.fileno()).st_size)
        except OSError as error:
            raise InputError(f"{name or path} cannot be read: {error.strerror}") from error


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


@contextlib.contextmanager
def held_lock(path: pathlib.Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock file `path`, which is there only as long; the kernel lets go of it however the process ends.

    It holds between all who see the same file, whatever numbers their processes have.

    Raises:
        BlockingIOError: Another holds it, and `wait` is false.
        OSError: The file cannot be made.
    """
    descriptor = _locked(path, wait=wait)
    try:
        yield
    finally:
        if _is_at(path, descriptor):  # else another's lies there, since somebody removed this one
            path.unlink(missing_ok=True)  # while it is held: who waits for it sees that it is gone, and makes another
        os.close(descriptor)


def _locked(path: pathlib.Path, *, wait: bool) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if _is_at(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # who held it before has removed it, so that others would lock another file


def _is_at(path: pathlib.Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False


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
