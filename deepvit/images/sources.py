"""Lists of images: what every dataset becomes."""

import dataclasses
import hashlib
import pathlib
from typing import Protocol

from deepvit.runtime.preprocess import FILES, DecodePolicy


class ImageSource(Protocol):
    """Images by index. Picklable, so that worker processes can read."""

    @property
    def policy(self) -> DecodePolicy:
        """Which of them are decoded."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """Return what the image is called in lists and reports."""

    def fingerprint(self, index: int) -> str:
        """Return what changes when the image or its label does, without reading it: label, size and time of change."""

    def read(self, index: int) -> tuple[bytes, int | None]:
        """Return the encoded image and its label; OSError where the file cannot be read."""


@dataclasses.dataclass(frozen=True)
class FolderSource:
    """Image files below `root`: (path relative to root, label or None), sorted."""

    root: pathlib.Path
    files: tuple[tuple[str, int | None], ...]
    policy: DecodePolicy = FILES

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        return self.files[index][0]

    def fingerprint(self, index: int) -> str:
        name, label = self.files[index]
        try:
            status = (self.root / name).stat()
        except OSError:
            return f"{label}:missing"
        return f"{label}:{status.st_size}:{status.st_mtime_ns}"

    def read(self, index: int) -> tuple[bytes, int | None]:
        name, label = self.files[index]
        return (self.root / name).read_bytes(), label


@dataclasses.dataclass(frozen=True)
class Subset:
    """Some images of a source, in the given order."""

    source: ImageSource
    indices: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def policy(self) -> DecodePolicy:
        return self.source.policy

    def name(self, index: int) -> str:
        return self.source.name(self.indices[index])

    def fingerprint(self, index: int) -> str:
        return self.source.fingerprint(self.indices[index])

    def read(self, index: int) -> tuple[bytes, int | None]:
        return self.source.read(self.indices[index])


def spread(source: ImageSource, limit: int | None) -> ImageSource:
    """Return `limit` images evenly spread over the source, hence over its classes; all where None or more."""
    if limit is None or limit >= len(source):
        return source
    return Subset(source, tuple(i * len(source) // limit for i in range(limit)))


def list_sha256(source: ImageSource) -> str:
    """Return the SHA-256 of the images' names in order."""
    return hashlib.sha256("\n".join(source.name(i) for i in range(len(source))).encode()).hexdigest()


def content_sha256(source: ImageSource) -> str:
    """Return the SHA-256 of every image's name and fingerprint: the key of what is kept of these images."""
    lines = (f"{source.name(i)}\0{source.fingerprint(i)}" for i in range(len(source)))
    return hashlib.sha256("\n".join([str(source.policy), *lines]).encode()).hexdigest()
