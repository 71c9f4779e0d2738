"""The artifact folder: its manifest, how it is opened verified, and how it is written."""

import contextlib
import hashlib
import os
import pathlib
import shlex
from collections.abc import Callable

from ..errors import InputError
from ..files import open_bounded, read_bounded
from ..files.staging import staged_folder
from .manifest import Engine, FileRecord, Manifest, parse_manifest

MANIFEST = "manifest.json"
MODEL = "model.onnx"
MAX_MANIFEST_BYTES = 1 << 20
MAX_MODEL_BYTES = (2 << 30) - 1  # of any protobuf
MAX_FILE_BYTES = 8 << 30  # of a plan, which has a model's weights a few times at most


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
        build = f"‹deepvit› build {shlex.quote(str(self.folder))}"
        raise InputError(f"{self.folder / MANIFEST} has no engine {name}; build it: {build}")

    def read(self, name: str) -> bytes:
        """Return the bytes of file `name`, which are those whose hash was checked.

        Raises:
            InputError: Not part of the artifact, missing, or not the bytes that were exported.
        """
        path, record = self.folder / name, self.manifest.files.get(name)
        if record is None:
            raise InputError(f"{path} is not part of the artifact; it holds {', '.join(sorted(self.manifest.files))}")
        most = MAX_MODEL_BYTES if path.suffix == ".onnx" else MAX_FILE_BYTES
        with open_bounded(path, most, "an ONNX model" if path.suffix == ".onnx" else "a file of an artifact") as stream:
            size = os.fstat(stream.fileno()).st_size
            try:
                content = stream.read(size) if size == record.bytes else b""
            except OSError as error:
                raise InputError(f"{path} cannot be read: {error.strerror}") from error
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
    if not path.exists():
        raise InputError(f"{folder} is not an artifact: it has no {MANIFEST}")
    return Artifact(folder, parse_manifest(path, read_bounded(path, MAX_MANIFEST_BYTES, "a manifest")))


def record_files(folder: pathlib.Path) -> dict[str, FileRecord]:
    """Return size and hash of every file in `folder` but the manifest."""
    return {path.name: record_file(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}


def record_file(path: pathlib.Path) -> FileRecord:
    """Return size and hash of one file."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return FileRecord(bytes=path.stat().st_size, sha256=digest)


def staged_artifact(
    output: pathlib.Path, require: Callable[[], None] | None = None, *, option: str | None = "‹output›"
) -> contextlib.AbstractContextManager[pathlib.Path]:
    """Give a folder to write an artifact into; see `staged_folder`."""
    return staged_folder(output, marker=MANIFEST, option=option, require=require)
