"""What a user names as images → the files that are meant, and the images in each; as they come, nothing is kept."""

import os
import pathlib
import re
import sys
from collections.abc import Callable, Iterator
from typing import TextIO

from deepvit.images.imagenet import EXTENSIONS
from deepvit.runtime.errors import InputError, printable

from ..arrow import TABLES
from . import storage
from .addresses import is_address, is_pattern, split_pattern, suffix_of
from .entry import Entry
from .shards import TAR, members_of
from .tables import rows_of_table

STDIN = "-"
LISTS = (".txt", ".lst", ".list")
MISSING = "missing"  # the stamp of what cannot be looked at; reading it will say why
ADVICE = (
    "expected a file, a folder, a pattern as 'photos/**/*.jpg', a list of paths, or an address as s3://bucket/photos"
)
Stamped = tuple[str, str]  # a file's path or address, and what mostly changes when the file does


def files_of(source: str) -> Iterator[Stamped]:
    """Yield the files of a source; see `is_ordered`.

    A folder gives its images, and those of the folders in it; a pattern images too, or what its own suffix says; a list
    the paths and addresses on its lines; `-` those on the lines of stdin. Names that begin with a dot are left out.

    Raises:
        InputError: It cannot be looked at, or there is nothing.
        MissingError: The library of a store is not installed.
    """
    if source == STDIN:
        yield from _lines(sys.stdin)
    elif is_address(source):
        yield from _files_at(source)
    elif _exists(source, pathlib.Path.is_dir):
        yield from _with_suffix(_files_below(source, None), EXTENSIONS)
    elif _exists(source, os.path.lexists):
        if suffix_of(source) in LISTS:
            yield from _files_in_list(source)
        else:
            yield source, _stamp(source)
    elif is_pattern(source):
        yield from _matching(source)
    else:
        raise InputError(f"‹images› {printable(source)} does not exist; {ADVICE}")


def is_ordered(source: str) -> bool:
    """Return whether `files_of` yields in an order that means something, which a folder's and a pattern's does not."""
    return source == STDIN or (not is_address(source) and suffix_of(source) in LISTS)


def entries_of(place: str, column: str | None) -> Iterator[Entry]:
    """Yield the images in a file: those of an archive or a table, by its suffix, else the file itself.

    Raises:
        InputError: An archive or table that cannot be read.
        MissingError: A library that reads it is not installed.
    """
    if suffix_of(place) == TAR:
        for member, start, size in members_of(place):
            yield Entry(place, member, start, size)
    elif suffix_of(place) in TABLES:
        rows, column = rows_of_table(place, column)
        for row in range(rows):
            yield Entry(place, row=row, column=column)
    else:
        yield Entry(place)


def _exists(source: str, is_there: Callable[[pathlib.Path], bool]) -> bool:
    try:
        return is_there(pathlib.Path(source))
    except (OSError, ValueError):  # a name that is too long, no right to look, or a zero byte
        return False


def _stamp(path: str) -> str:
    try:
        status = os.stat(path)  # noqa: PTH116 - pathlib keeps the parts of every path that it saw
    except (OSError, ValueError):
        return MISSING
    return f"{status.st_size}:{status.st_mtime_ns}"


def _with_suffix(files: Iterator[Stamped], suffixes: tuple[str, ...]) -> Iterator[Stamped]:
    for place, stamp in files:
        if suffix_of(place) in suffixes and not place.rpartition("/")[2].startswith("."):
            yield place, stamp


def _matching(pattern: str) -> Iterator[Stamped]:
    """Yield the files that a pattern means: images, or archives or tables where it ends in their suffix."""
    root, expression, depth = split_pattern(pattern)
    own = suffix_of(pattern)
    suffixes = (own,) if own == TAR or own in TABLES else EXTENSIONS
    found = storage.files_below(root, depth) if is_address(pattern) else _files_below(root or ".", depth)
    skipped = len(root or "./")
    for place, stamp in _with_suffix(found, suffixes):
        if expression.fullmatch(place[skipped:]):
            yield place, stamp


def _files_at(address: str) -> Iterator[Stamped]:
    if is_pattern(address):
        yield from _matching(address)
    elif suffix_of(address) in (*EXTENSIONS, TAR, *TABLES):
        yield address, "" if "?" in address else storage.stamp_at(address)
    elif storage.is_folder(address):
        yield from _with_suffix(storage.files_below(address), EXTENSIONS)
    else:
        yield address, storage.stamp_at(address)


def _files_below(root: str, depth: int | None) -> Iterator[Stamped]:
    """Yield every file below a folder; links to folders are followed, and to nothing yielded, so that reading fails."""
    seen: set[tuple[int, int]] = set()
    pending = [(root, 0)]
    while pending:
        folder, level = pending.pop()
        try:
            status = pathlib.Path(folder).stat()
            if (status.st_dev, status.st_ino) in seen:
                raise InputError(f"links lead to {printable(folder)} a second time; remove them")
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                for entry in entries:
                    if _leads_to_folder(entry):
                        if depth is None or level < depth:
                            pending.append((entry.path, level + 1))
                    else:
                        yield entry.path, _stamp(entry.path)
        except OSError as error:
            raise InputError(f"folder {printable(folder)} cannot be read: {error.strerror}") from error


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return not entry.name.startswith(".") and entry.is_dir()
    except OSError:  # a link to itself, say
        return False


def _files_in_list(path: str) -> Iterator[Stamped]:
    try:
        with pathlib.Path(path).open(encoding="utf-8", errors="surrogateescape") as stream:
            yield from _lines(stream)
    except OSError as error:
        raise InputError(f"‹images› {printable(path)} cannot be read: {error.strerror}") from error


def _lines(stream: TextIO) -> Iterator[Stamped]:
    """Yield what is on each line: a path as the shell would take it here, or an address, which is not asked for."""
    for line in stream:
        if place := re.sub(r"[\r\n]+$", "", line).removeprefix("\ufeff"):
            yield place, "" if is_address(place) else _stamp(place)
