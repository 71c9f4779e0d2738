"""Arrays by block of images, in one SQLite file: what a run has found so far, whenever it is killed."""

import io
import pathlib
import sqlite3
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from deepvit.runtime.errors import InputError, MissingError

Arrays = Mapping[str, npt.NDArray[np.generic]]
BUSY_S = 120  # how long a process waits while another one writes


class BlockStore:
    """Named arrays by block number. Several processes may write to one file; a block is there whole or not at all.

    Args:
        path: The file, made if missing; in memory where None.

    Raises:
        InputError: The file cannot be written, or is something else.
    """

    def __init__(self, path: pathlib.Path | None) -> None:
        self.path = path
        try:
            self._connection = connect(path)
            with self._connection:
                self._connection.execute("CREATE TABLE IF NOT EXISTS blocks (number INTEGER PRIMARY KEY, arrays BLOB)")
        except sqlite3.Error as error:
            raise sqlite_error(path, error) from error

    def numbers(self) -> set[int]:
        """Return the numbers of the blocks that are there."""
        return {int(row[0]) for row in self._execute("SELECT number FROM blocks", ())}

    def read(self, number: int) -> dict[str, npt.NDArray[np.generic]] | None:
        """Return the arrays of a block, or None where it is not there."""
        rows = self._execute("SELECT arrays FROM blocks WHERE number = ?", (number,))
        if not rows:
            return None
        with np.load(io.BytesIO(rows[0][0]), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def write(self, number: int, arrays: Arrays) -> None:
        """Add a block, or replace it.

        Raises:
            MissingError: The disk is full.
        """
        stream = io.BytesIO()
        np.savez(stream, **arrays)  # type: ignore[arg-type]
        self._execute("INSERT OR REPLACE INTO blocks VALUES (?, ?)", (number, stream.getvalue()))

    def _execute(self, statement: str, values: tuple[object, ...]) -> list[tuple[bytes]]:
        try:
            with self._connection:
                return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise sqlite_error(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def connect(path: pathlib.Path | None) -> sqlite3.Connection:
    """Open a database that survives a kill at any moment, and costs no wait for the disk at every write."""
    connection = sqlite3.connect(":memory:" if path is None else path, timeout=BUSY_S)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def sqlite_error(path: pathlib.Path | None, error: sqlite3.Error) -> InputError | MissingError:
    """Return our error for one of SQLite's."""
    if "full" in str(error):
        return MissingError(f"no room on the disk to write {path}; free some, or set DEEPVIT_CACHE to another folder")
    return InputError(f"{path} cannot be used ({error}); delete it, or set DEEPVIT_CACHE to another folder")


def remove_database(path: pathlib.Path) -> None:
    """Remove a database and what SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
