"""Parquet and Arrow files: images read from them, rows written to them; the only file that imports pyarrow."""

import bisect
import contextlib
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from deepvit.runtime.errors import InputError, first_of, needed_for, printable

PARQUET, IPC = (".parquet", ".pq"), (".arrow", ".feather", ".ipc")
TABLES = (*PARQUET, *IPC)
BYTES = "bytes"  # of an image, in a column of structs as Hugging Face writes them
ROWS_PER_GROUP = 10_000


class ImageTable:
    """The images in a column of a file, read group by group; the last group is kept.

    Args:
        stream: The file; it must stay open.
        suffix: Of its name.
        name: What errors call it.

    Raises:
        InputError: No such file, or damaged.
        MissingError: pyarrow is not installed.
    """

    def __init__(self, stream: BinaryIO, suffix: str, name: str) -> None:
        with needed_for(f"reading {name}"):
            import pyarrow
        self._arrow, self._name = pyarrow, name
        self._kept: tuple[int, str, Any] | None = None
        with self._faults():
            sizes, self.schema, self._read_group = _parquet_groups(stream) if suffix in PARQUET else _ipc_groups(stream)
        self._ends = list(itertools.accumulate(sizes))

    @property
    def rows(self) -> int:
        return self._ends[-1] if self._ends else 0

    def column(self, wanted: str | None) -> str:
        """Return the column that holds images: the one that is wanted, else the only one of bytes.

        Raises:
            InputError: There is no such column, or several.
        """
        found = [field.name for field in self.schema if self._is_bytes(field.type)]
        if wanted is None and len(found) == 1:
            return found[0]
        if wanted is not None and wanted in found:
            return wanted
        has = first_of([printable(name) for name in found], 8) or "none"
        which = f"named {wanted}" if wanted else "to be the images"
        raise InputError(f"{self._name}: columns of bytes are {has}; expected one {which}; name it with ‹column›")

    def _is_bytes(self, kind: Any) -> bool:
        types = self._arrow.types
        if types.is_struct(kind):
            return any(field.name == BYTES and self._is_bytes(field.type) for field in kind)
        return types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)

    def read(self, column: str, row: int) -> bytes:
        """Return the encoded image in a row.

        Raises:
            InputError: The row is empty, or the file damaged.
        """
        group = bisect.bisect_right(self._ends, row)
        with self._faults():
            if self._kept is None or self._kept[:2] != (group, column):
                self._kept = (group, column, self._read_group(group, column))
            value = self._kept[2][row - (self._ends[group - 1] if group else 0)].as_py()
        content = value.get(BYTES) if isinstance(value, dict) else value
        if not isinstance(content, bytes):
            raise InputError("the row has no bytes")
        return content

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (self._arrow.ArrowException, OSError, EOFError, IndexError, KeyError) as error:
            text = str(error).strip().splitlines() or [type(error).__name__]
            raise InputError(f"{self._name} is no file of a table, or damaged: {text[0]}") from error


Groups = tuple[list[int], Any, Callable[[int, str], Any]]  # rows of each group, schema, (group, column) → values


def _parquet_groups(stream: BinaryIO) -> Groups:
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(stream)
    sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    return sizes, file.schema_arrow, lambda group, column: file.read_row_group(group, columns=[column]).column(0)


def _ipc_groups(stream: BinaryIO) -> Groups:
    import pyarrow.ipc

    try:
        file = pyarrow.ipc.open_file(stream)
    except pyarrow.ArrowInvalid:  # the format of a stream, which Hugging Face keeps its data sets in
        stream.seek(0)
        table = pyarrow.ipc.open_stream(stream).read_all()
        return [table.num_rows], table.schema, lambda _group, column: table.column(column)
    sizes = [file.get_batch(number).num_rows for number in range(file.num_record_batches)]
    return sizes, file.schema, lambda group, column: file.get_batch(group).column(column)


def write_parquet(path: pathlib.Path, rows: Iterable[dict[str, Any]], *, with_logits: bool) -> None:
    """Write rows as a Parquet file, in groups of ROWS_PER_GROUP, so that the same rows are the same bytes.

    Args:
        path: The file.
        rows: As `deepvit.classify.rows.Row.content` has them.
        with_logits: Whether they have logits.

    Raises:
        MissingError: pyarrow is not installed.
        OSError: It cannot be written.
    """
    require_arrow()
    import pyarrow
    import pyarrow.parquet

    guess = [("class", pyarrow.int32()), ("name", pyarrow.string()), ("probability", pyarrow.float32())]
    columns = [("path", pyarrow.string()), *guess, ("top", pyarrow.list_(pyarrow.struct(guess)))]
    columns += [("error", pyarrow.string()), *([("logits", pyarrow.list_(pyarrow.float32()))] if with_logits else [])]
    schema = pyarrow.schema(columns)
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in _groups_of(rows, ROWS_PER_GROUP):
            writer.write_table(pyarrow.Table.from_pylist(group, schema), row_group_size=ROWS_PER_GROUP)


def _groups_of(rows: Iterable[dict[str, Any]], size: int) -> Iterator[Sequence[dict[str, Any]]]:
    remaining = iter(rows)
    while group := list(itertools.islice(remaining, size)):
        yield group


def require_arrow() -> None:
    """Refuse to write Parquet where it cannot be written, before anything is run.

    Raises:
        MissingError: pyarrow is not installed.
    """
    with needed_for("writing Parquet"):
        import pyarrow.parquet  # noqa: F401 - whether it can be loaded
