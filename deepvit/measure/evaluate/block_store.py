"""Arrays by block of images, in one SQLite file: what a run has found so far, whenever it is killed.

Each row has a hash of itself, of the file's name, which is the key of the run, and of the images that it comes from.
That finds damage, and rows of other runs or images; it does not stop who may write here, and could hash as well.
"""

import hashlib
import io
import pathlib
import sqlite3
import zipfile
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ..database import open_database, sqlite_error

Arrays = Mapping[str, npt.NDArray[np.generic]]
TABLE = "CREATE TABLE blocks (number INTEGER PRIMARY KEY, images BLOB, arrays BLOB, sha256 BLOB)"


class BlockStore:
    """Named arrays by block number. Several processes may write to one file; a block is there whole or not at all.

    Args:
        path: The file, made if missing, and made anew where it is damaged; see `open_database` for None.

    Raises:
        InputError: The file cannot be written.
    """

    def __init__(self, path: pathlib.Path | None) -> None:
        self.path = path
        self._connection = open_database(path, TABLE)

    def numbers(self) -> set[int]:
        """Return the numbers of the blocks that are there, sound or not."""
        return {int(row[0]) for row in self._execute("SELECT number FROM blocks", ())}

    def has(self, number: int) -> bool:
        """Return whether a block is there, sound or not."""
        return bool(self._execute("SELECT 1 FROM blocks WHERE number = ?", (number,)))

    def read(self, number: int, images: bytes | None = None) -> dict[str, npt.NDArray[np.generic]] | None:
        """Return the arrays of a block, or None where it is not there, damaged, or not of these images.

        Args:
            number: Which.
            images: `Block.sha256` of the images as they are now; those that are noted where None.
        """
        try:
            rows = self._connection.execute("SELECT * FROM blocks WHERE number = ?", (number,)).fetchall()
        except sqlite3.OperationalError as error:
            raise sqlite_error(self.path, error) from error
        except sqlite3.DatabaseError:
            return None  # a damaged page, found after the file was opened
        if not rows or not all(isinstance(value, bytes) for value in rows[0][1:]):
            return None
        _, noted, content, sha256 = rows[0]
        if sha256 != self._sha256(number, noted, content) or images not in (None, noted):
            return None
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except (ValueError, KeyError, OSError, EOFError, AttributeError, zipfile.BadZipFile):
            return None  # hashed, but not by `write`

    def write(self, number: int, images: bytes, arrays: Arrays) -> None:
        """Add a block of the images with this `Block.sha256`, or replace it.

        Raises:
            MissingError: The disk is full.
        """
        stream = io.BytesIO()
        np.savez(stream, **arrays)  # type: ignore[arg-type]
        content = stream.getvalue()
        row = (number, images, content, self._sha256(number, images, content))
        self._execute("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?)", row)

    def remove(self, number: int) -> None:
        """Take a block out."""
        self._execute("DELETE FROM blocks WHERE number = ?", (number,))

    def _sha256(self, number: int, images: bytes, content: bytes) -> bytes:
        name = "" if self.path is None else self.path.name
        return hashlib.sha256(f"{name}\0{number}\0{images.hex()}\0".encode() + content).digest()

    def _execute(self, statement: str, values: tuple[object, ...]) -> list[tuple[bytes]]:
        try:
            with self._connection:
                return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise sqlite_error(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
