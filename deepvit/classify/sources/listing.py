"""The images of a run in their order, on the disk: the memory of a list does not grow with it.

The list is in a database without a name, which SQLite removes from the folder of temporary files (SQLITE_TMPDIR, else
TMPDIR, else /var/tmp) as it makes it: whatever becomes of this process, nothing is left of it, nor of a password in an
address.
"""

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Iterator, Sequence

from deepvit.runtime.errors import InputError, MissingError, first_of, printable

from .addresses import public
from .entry import Entry, entry_from_text
from .expansion import ADVICE, entries_of, files_of, is_ordered

FILES = "CREATE TABLE files (source INTEGER, key BLOB, number INTEGER PRIMARY KEY, place BLOB, stamp TEXT)"
IMAGES = "CREATE TABLE images (place INTEGER PRIMARY KEY, entry TEXT)"
IN_ORDER = "SELECT place, stamp FROM files ORDER BY source, key, number"


class Listing:
    """Images by place. Sources come one after another; what lies in folders and matches patterns is sorted by path.

    Args:
        sources: As a user names them; see `files_of`.
        column: Which of a table's columns has the images.
        limit: So many, the first; all where None.

    Attributes:
        images: How many there are.
        sha256: Of all their names, and of what mostly changes when a file does: its size and time.

    Raises:
        InputError: A source that cannot be read, or no image at all.
        MissingError: A library that reads it is not installed, or the disk is full.
    """

    def __init__(self, sources: Sequence[str], column: str | None = None, limit: int | None = None) -> None:
        self._connection = sqlite3.connect("", check_same_thread=False)  # whichever thread a generator goes on in
        self.images, self.sha256 = 0, ""
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(self.close)
            try:
                self._list(sources, column, limit)
            except sqlite3.OperationalError as error:
                raise MissingError(f"no room on the disk for the list of images ({error}); set TMPDIR") from error
            on_failure.pop_all()
        if not self.images:
            named = first_of([printable(public(source)) for source in sources], 3)
            raise InputError(f"no images in {named}; {ADVICE}")

    def _list(self, sources: Sequence[str], column: str | None, limit: int | None) -> None:
        self._connection.execute(FILES)
        self._connection.execute(IMAGES)
        self._connection.executemany("INSERT INTO files VALUES (?, ?, NULL, ?, ?)", _rows(sources))
        digest = hashlib.sha256()

        def rows() -> Iterator[tuple[int, str]]:
            for place, stamp in self._connection.execute(IN_ORDER):
                for entry in entries_of(os.fsdecode(place), column):
                    if self.images == limit:
                        return
                    digest.update(f"{entry.name}\0{stamp}\n".encode())
                    yield self.images, entry.to_text()
                    self.images += 1

        self._connection.executemany("INSERT INTO images VALUES (?, ?)", rows())
        self.sha256 = digest.hexdigest()
        self._connection.execute("DELETE FROM files")

    def entries(self, places: range) -> tuple[Entry, ...]:
        """Return the images at places that follow each other."""
        query = "SELECT entry FROM images WHERE place >= ? AND place < ? ORDER BY place"
        rows = self._connection.execute(query, (places.start, places.stop)).fetchall()
        return tuple(entry_from_text(text) for (text,) in rows)

    def close(self) -> None:
        self._connection.close()


def _rows(sources: Sequence[str]) -> Iterator[tuple[int, bytes, bytes, str]]:
    for number, source in enumerate(sources):
        keeps_order = is_ordered(source)
        for place, stamp in files_of(source):
            encoded = os.fsencode(place)
            yield number, b"" if keeps_order else encoded, encoded, stamp
