"""Files that hold many images, opened to be read at any place; and the members of tar archives, as WebDataset's are."""

import contextlib
import pathlib
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from deepvit.images.imagenet import EXTENSIONS
from deepvit.runtime.errors import InputError, printable
from deepvit.runtime.files import open_bounded

from .addresses import is_address, public, suffix_of
from .storage import open_address

TAR = ".tar"
MOST_SHARD_BYTES = 1 << 50


@contextlib.contextmanager
def open_shard(place: str, *, name: str | None = None) -> Iterator[BinaryIO]:
    """Give a file, here or in a store.

    Raises:
        InputError: It cannot be read; `name`, or the place, says which.
    """
    if is_address(place):
        with open_address(place) as remote:
            yield remote
    else:
        name = name or printable(place)
        with open_bounded(pathlib.Path(place), MOST_SHARD_BYTES, "a shard", name=name) as local:
            yield local


def members_of(place: str) -> Iterator[tuple[str, int, int]]:
    """Yield name, start and size of every image in an archive, in its order, in memory that does not grow with it.

    Raises:
        InputError: It is no archive that can be read at any place, or is damaged.
    """
    with open_shard(place) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r:") as archive:
                for member in archive:
                    archive.members = []  # type: ignore[attr-defined] # which would have them all
                    name = member.name.rpartition("/")[2]
                    is_plain = member.isreg() and not member.issparse()
                    if is_plain and suffix_of(name) in EXTENSIONS and not name.startswith("."):
                        yield member.name, member.offset_data, member.size
        except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
            name = printable(public(place))
            raise InputError(
                f"{name} is no tar archive, or compressed or damaged: {error}; expected a plain .tar"
            ) from error
