"""Images in tables of bytes: how many there are, and each by its row."""

import contextlib

from deepvit.runtime.errors import printable

from ..arrow import ImageTable
from .addresses import public, suffix_of
from .shards import open_shard


def rows_of_table(place: str, column: str | None) -> tuple[int, str]:
    """Return how many images a table has, and in which column.

    Raises:
        InputError: It is no table, or nobody can tell which column has the images.
        MissingError: pyarrow is not installed.
    """
    with open_shard(place) as stream:
        table = ImageTable(stream, suffix_of(place), printable(public(place)))
        return table.rows, table.column(column)


class _LastTable:
    """The table that this process read last, open: the next row is mostly of the same."""

    place = ""
    table: ImageTable | None = None
    opened = contextlib.ExitStack()


def read_row(place: str, column: str, row: int) -> bytes:
    """Return the encoded image in a row of a table.

    Raises:
        InputError: It cannot be read.
        MissingError: pyarrow is not installed.
    """
    if _LastTable.place != place or _LastTable.table is None:
        _LastTable.table = None
        _LastTable.opened.close()
        with contextlib.ExitStack() as opened:
            stream = opened.enter_context(open_shard(place, name="the table"))
            _LastTable.table = ImageTable(stream, suffix_of(place), "the table")
            _LastTable.opened = opened.pop_all()
        _LastTable.place = place
    return _LastTable.table.read(column, row)
