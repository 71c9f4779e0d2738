"""The artifact folder: its manifest, how it is written as a whole or not at all, and how it is opened verified."""

import collections.abc
import contextlib
import ctypes
import errno
import hashlib
import os
import pathlib
import re
import shutil
import tempfile

from .errors import InputError, MissingError
from .manifest import Engine, FileRecord, Manifest, parse_manifest

MANIFEST = "manifest.json"
MODEL = "model.onnx"
MAX_MANIFEST_BYTES = 1 << 20


class Artifact:
    """An opened artifact: the folder and its valid manifest. Files are verified as they are read."""

    def __init__(self, folder: pathlib.Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    def engine(self, name: str) -> Engine:
        """Return the record of plan `name`.

        Raises:
            InputError: The manifest has none.
        """
        for engine in self.manifest.engines:
            if engine.file == name:
                return engine
        raise InputError(f"{self.folder / MANIFEST} has no engine {name}; build it: ‹deepvit› build {self.folder}")

    def read(self, name: str) -> bytes:
        """Return the bytes of file `name`, which are those whose hash was checked.

        Raises:
            InputError: Not part of the artifact, missing, or not the bytes that were exported.
        """
        path, record = self.folder / name, self.manifest.files.get(name)
        if record is None:
            raise InputError(f"{path} is not part of the artifact; it holds {', '.join(sorted(self.manifest.files))}")
        try:
            size = path.stat().st_size
            content = path.read_bytes() if size == record.bytes else b""
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}; export again") from error
        if size != record.bytes:
            raise InputError(f"{path} has {size} bytes, expected {record.bytes} by its manifest; export again")
        got = hashlib.sha256(content).hexdigest()
        if got != record.sha256:
            raise InputError(
                f"{path} has SHA-256 {got[:16]}…, expected {record.sha256[:16]}… by its manifest; it is not what was "
                "exported: export again"
            )
        return content


def open_artifact(folder: pathlib.Path) -> Artifact:
    """Open an artifact folder by its manifest.

    Raises:
        InputError: No folder, or no valid manifest in it.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise InputError(f"artifact {folder} does not exist; export one: ‹deepvit› export deepvit_32 ‹fp16›")
    try:
        size = path.stat().st_size
        text = path.read_bytes() if size <= MAX_MANIFEST_BYTES else b""
    except OSError as error:
        raise InputError(f"{folder} is not an artifact: no readable {MANIFEST} ({error.strerror})") from error
    if size > MAX_MANIFEST_BYTES:
        raise InputError(f"{path} has {size} bytes, a manifest has at most {MAX_MANIFEST_BYTES}")
    return Artifact(folder, parse_manifest(path, text))


def record_files(folder: pathlib.Path) -> dict[str, FileRecord]:
    """Return size and hash of every file in `folder` but the manifest."""
    return {path.name: record_file(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}


def record_file(path: pathlib.Path) -> FileRecord:
    """Return size and hash of one file."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return FileRecord(bytes=path.stat().st_size, sha256=digest)


def staged_artifact(output: pathlib.Path) -> contextlib.AbstractContextManager[pathlib.Path]:
    """Give a folder to write an artifact into; see `staged_folder`."""
    return staged_folder(output, marker=MANIFEST, option="‹output›")


@contextlib.contextmanager
def staged_folder(output: pathlib.Path, *, marker: str, option: str) -> collections.abc.Iterator[pathlib.Path]:
    """Give a folder to write into, which becomes `output` in one step when the block ends well.

    A process killed at any moment leaves `output` as it was; what it had staged beside it is removed by the next
    one to the same place. An earlier folder of the same kind at `output` is exchanged for the new one, nothing else is
    replaced.

    Args:
        output: Where the folder shall be.
        marker: The file that every folder of this kind has.
        option: What named `output` on the command line, for errors.

    Raises:
        InputError: `output` cannot be written, or is something else than such a folder.
        MissingError: The disk is full.
    """
    output = pathlib.Path(os.path.abspath(output))
    _refuse_foreign(output, marker, option)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(output)
        staging = pathlib.Path(tempfile.mkdtemp(prefix=f".{output.name}.{os.getpid()}.", dir=output.parent))
    except OSError as error:
        raise _write_error(output, option, error) from error
    try:
        yield staging
        if not (staging / marker).is_file():
            raise AssertionError(f"a folder was staged without its {marker}")
        staging.chmod(0o777 & ~_umask())
        _sync(staging)
        _exchange(staging, output)
    except OSError as error:
        raise _write_error(output, option, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _refuse_foreign(output: pathlib.Path, marker: str, option: str) -> None:
    if output.is_dir():
        if any(output.iterdir()) and not (output / marker).is_file():
            raise InputError(f"{output} is a folder of something else; name another one with {option}")
    elif output.exists() or output.is_symlink():
        raise InputError(f"{output} is not a folder; name another one with {option}")


def _remove_leftovers(output: pathlib.Path) -> None:
    """Remove what killed exports to the same place left staged."""
    pattern = re.compile(rf"\.{re.escape(output.name)}\.(\d+)\.[a-z0-9_]{{8}}")
    for path in output.parent.iterdir():
        match = pattern.fullmatch(path.name)
        if match and path.is_dir() and not _is_running(int(match[1])):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync(folder: pathlib.Path) -> None:
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _exchange(staging: pathlib.Path, output: pathlib.Path) -> None:
    """Put `staging` in the place of `output`; an artifact that is there ends up at `staging`, to be removed."""
    if not output.exists() or not any(output.iterdir()):
        staging.rename(output)
        return
    exchange_flag, at_cwd = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of Linux
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 and renameat2(at_cwd, os.fsencode(staging), at_cwd, os.fsencode(output), exchange_flag) == 0:
        return
    # A file system without exchange: two renames, between which a kill leaves the old artifact under its staged name.
    old = staging.with_name(staging.name + ".old")
    output.rename(old)
    staging.rename(output)
    shutil.rmtree(old, ignore_errors=True)


def _write_error(output: pathlib.Path, option: str, error: OSError) -> InputError | MissingError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return MissingError(f"no room on the disk to write {output}; free some or name another place with {option}")
    return InputError(f"{output} cannot be written: {error.strerror or error}; name another place with {option}")
