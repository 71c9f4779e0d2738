"""One image of a source: where its bytes are, what it is called, and how many are read at once."""

import concurrent.futures
import dataclasses
import json
import os
import pathlib
from typing import Any

from deepvit.images.sources import MOST_IMAGE_BYTES
from deepvit.runtime.errors import InputError, printable
from deepvit.runtime.files import read_bounded
from deepvit.runtime.preprocess import FILES, DecodePolicy

from .addresses import is_address, public
from .shards import open_shard
from .storage import read_address
from .tables import read_row

READS_AT_ONCE = 8  # of a store, which takes its time to answer


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """Where one image is. To be shown, and kept, is its `name` alone: an address can have a password in it.

    Attributes:
        place: Path or address of the file that it is, or is in.
        member: Its name in an archive.
        start: Where it begins in an archive.
        size: How many bytes it has there; −1 where it is no member of one.
        row: Its row in a table; −1 where it is in none.
        column: The table's column.
    """

    place: str
    member: str = ""
    start: int = 0
    size: int = -1
    row: int = -1
    column: str = ""

    @property
    def name(self) -> str:
        """What the image is called: a path, an address, or that of an archive or table and what it is in there."""
        within = f"/{self.member}" if self.size >= 0 else f"#{self.row}" if self.row >= 0 else ""
        return printable(f"{public(self.place)}{within}")

    def read(self) -> bytes:
        """Return the encoded image.

        Raises:
            InputError: It cannot be read; the error does not say which.
            MissingError: A library that reads such places is not installed.
        """
        if self.row >= 0:
            content = read_row(self.place, self.column, self.row)
        elif self.size >= 0:
            content = self._member()
        elif is_address(self.place):
            content = read_address(self.place, end=MOST_IMAGE_BYTES + 1)
        else:
            content = read_bounded(pathlib.Path(self.place), MOST_IMAGE_BYTES, "an image", name="the file")
        if len(content) > MOST_IMAGE_BYTES:
            raise InputError(f"the file has more than the {MOST_IMAGE_BYTES} bytes that an image has at most")
        return content

    def _member(self) -> bytes:
        if self.size > MOST_IMAGE_BYTES:
            raise InputError(f"the file has {self.size} bytes, an image has at most {MOST_IMAGE_BYTES}")
        if is_address(self.place):
            content = read_address(self.place, self.start, self.start + self.size)
        else:
            with open_shard(self.place, name="the shard") as stream:
                content = os.pread(stream.fileno(), self.size, self.start)
        if len(content) != self.size:
            raise InputError(f"the shard ends after {len(content)} of {self.size} bytes")
        return content

    def to_text(self) -> str:
        """Return what `entry_from_text` makes the same entry of; ASCII, whatever bytes the names have."""
        return json.dumps((self.place, self.member, self.start, self.size, self.row, self.column))


def entry_from_text(text: str | bytes) -> Entry:
    return Entry(*json.loads(text))


class EntrySource:
    """Some entries as an `ImageSource`; what is of a store is read ahead, several at once."""

    def __init__(self, entries: tuple[Entry, ...], policy: DecodePolicy = FILES) -> None:
        self.entries, self.policy = entries, policy
        self._reads: list[concurrent.futures.Future[bytes]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_reads": None}

    def __len__(self) -> int:
        return len(self.entries)

    def name(self, index: int) -> str:
        return self.entries[index].name

    def fingerprint(self, index: int) -> str:
        return self.entries[index].name

    def read(self, index: int) -> tuple[bytes, int | None]:
        if len(self) == 1 or not is_address(self.entries[index].place) or self.entries[index].row >= 0:
            return self.entries[index].read(), None
        if self._reads is None:
            with concurrent.futures.ThreadPoolExecutor(READS_AT_ONCE) as pool:
                self._reads = [pool.submit(entry.read) for entry in self.entries]
        return self._reads[index].result(), None
