"""Rows in a file: JSON lines, CSV or Parquet, by its suffix; there whole or not at all."""

import csv
import enum
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

from deepvit.runtime.errors import InputError
from deepvit.runtime.files import replaced, write_error

from .arrow import require_arrow, write_parquet
from .rows import Row

OPTION = "‹output›"


class Form(enum.Enum):
    """How rows are written, and the suffixes that say so."""

    JSON_LINES = (".jsonl", ".ndjson")
    CSV = (".csv",)
    PARQUET = (".parquet",)


def form_of(path: pathlib.Path) -> Form:
    """Return how rows are written to a file of this name.

    Raises:
        InputError: Its suffix does not say.
    """
    for form in Form:
        if path.suffix.lower() in form.value:
            return form
    suffixes = ", ".join(suffix for form in Form for suffix in form.value)
    raise InputError(f"{OPTION} {path}: expected a file that ends in {suffixes}")


def require_writable(path: pathlib.Path, *, overwrite: bool) -> None:
    """Refuse, before anything is run, what could not be written in the end, or would replace what is there.

    Raises:
        InputError: Its suffix says nothing, or it is there and shall not be replaced.
        MissingError: pyarrow is not installed, and is needed.
    """
    form = form_of(path)
    if not overwrite and os.path.lexists(path):
        raise InputError(f"{OPTION} {path} is there already; name another file, or ‹overwrite›")
    if form is Form.PARQUET:
        require_arrow()


def write_rows(path: pathlib.Path, rows: Iterable[Row], *, with_logits: bool) -> None:
    """Write rows as the file's suffix says; the same rows are the same bytes.

    Raises:
        InputError: It cannot be written.
        MissingError: The disk is full.
    """
    contents = (row.content(with_logits=with_logits) for row in rows)
    form = form_of(path)
    try:
        with replaced(path) as staged:
            if form is Form.PARQUET:
                write_parquet(staged, contents, with_logits=with_logits)
            else:
                write: Callable[[TextIO, Iterator[dict[str, Any]], bool], None]
                write = _write_csv if form is Form.CSV else _write_json_lines
                with staged.open("w", encoding="utf-8", newline="") as stream:
                    write(stream, contents, with_logits)
    except OSError as error:
        raise write_error(path, OPTION, error) from error


def _write_json_lines(stream: TextIO, contents: Iterator[dict[str, Any]], _with_logits: bool) -> None:
    for content in contents:
        stream.write(json.dumps(content, ensure_ascii=False) + "\n")


def _write_csv(stream: TextIO, contents: Iterator[dict[str, Any]], with_logits: bool) -> None:
    """Write lists, of the most probable classes and of logits, as JSON."""
    columns = list(Row(path="").content(with_logits=with_logits))
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    for content in contents:
        values = (content[column] for column in columns)
        writer.writerow([json.dumps(each, ensure_ascii=False) if isinstance(each, list) else each for each in values])
