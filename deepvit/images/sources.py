"""Lists of images: what every dataset becomes."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Iterable
from typing import Protocol

from deepvit.runtime.errors import InputError, printable
from deepvit.runtime.files import read_bounded
from deepvit.runtime.preprocess import FILES, DecodePolicy

MOST_IMAGE_BYTES = 1 << 30  # more than the most pixels that are decoded take uncompressed, at 16 bits a channel


class ImageSource(Protocol):
    """Images by index. Picklable, so that worker processes can read."""

    @property
    def policy(self) -> DecodePolicy:
        """Which of them are decoded."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """Return what the image is called in lists and reports."""

    def fingerprint(self, index: int) -> str:
        """Return what mostly changes when the image or its label does, without reading it: label, size and time.

        Two images can have the same; `image_sha256` tells them apart.
        """

    def read(self, index: int) -> tuple[bytes, int | None]:
        """Return the encoded image and its label.

        Raises:
            InputError: The image cannot be read; it does not say which.
            MissingError: Nothing can be read of this dataset any more.
        """


@dataclasses.dataclass(frozen=True)
class FolderSource:
    """Image files below `root`: (path relative to root, label or None), sorted."""

    root: pathlib.Path
    files: tuple[tuple[str, int | None], ...]
    policy: DecodePolicy = FILES

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        return printable(self.files[index][0])

    def fingerprint(self, index: int) -> str:
        name, label = self.files[index]
        try:
            status = (self.root / name).stat()
        except OSError:
            return f"{label}:missing"
        return f"{label}:{status.st_size}:{status.st_mtime_ns}"

    def read(self, index: int) -> tuple[bytes, int | None]:
        name, label = self.files[index]
        return read_bounded(self.root / name, MOST_IMAGE_BYTES, "an image", name="the file"), label


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
    return _sha256_of_lines(source.name(i) for i in range(len(source)))


def fingerprint_sha256(source: ImageSource) -> str:
    """Return the SHA-256 of every image's name and fingerprint: where to look for what is kept of these images.

    Other images can have the same, so that whatever is found there must be checked against their `image_sha256`.
    """
    lines = (f"{source.name(i)}\0{source.fingerprint(i)}" for i in range(len(source)))
    return _sha256_of_lines([str(source.policy), *lines])


def _sha256_of_lines(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def image_sha256(encoded: bytes, label: int | None) -> bytes:
    """Return the SHA-256 (32 bytes) of an image's label and encoded bytes: what it is, whatever it is called."""
    digest = hashlib.sha256(f"{label}:".encode())
    digest.update(encoded)
    return digest.digest()


def read_image_sha256(source: ImageSource, index: int) -> bytes:
    """Return `image_sha256` of an image as it is now, empty where it cannot be read."""
    try:
        return image_sha256(*source.read(index))
    except (InputError, MemoryError):
        return b""
