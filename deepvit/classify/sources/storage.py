"""Stores that fsspec opens: s3://, gs://, hdfs://, memory://, https:// and others; the only file that imports it.

Who may read there, fsspec and the store's own library take from the environment and their own files. What they say when
they fail may have addresses and keys in it, so that none of it is passed on: an error says what kind it was.
"""

import contextlib
import errno
from collections.abc import Iterator
from typing import Any, BinaryIO

from deepvit.runtime.errors import InputError, MissingError, missing_library, needed_for, printable

from .addresses import public

STAMPS = ("ETag", "etag", "md5Hash", "checksum", "mtime", "LastModified", "last_modified", "created", "updated")


def files_below(address: str, depth: int | None = None) -> Iterator[tuple[str, str]]:
    """Yield the address of each file below one, and what changes when the file does; no order.

    The memory of it is that of the fullest folder: that is how stores are listed through fsspec.

    Raises:
        InputError: It cannot be listed.
        MissingError: The library of the store is not installed.
    """
    with faults_of(address):
        store, root = _opened(address)
        root = root.rstrip("/")
        before = address.rstrip("/").removesuffix(root)
        for folder, _, files in store.walk(
            root, maxdepth=None if depth is None else depth + 1, on_error="raise", detail=True
        ):
            for name, about in files.items():
                yield f"{before}{folder.rstrip('/')}/{name}", stamp_of(about)
            store.invalidate_cache()


def stamp_of(about: dict[str, Any]) -> str:
    """Return what a store says of a file that changes when the file does."""
    return ":".join([str(about.get("size")), *(str(about[name]) for name in STAMPS if name in about)])


def is_folder(address: str) -> bool:
    """Return whether there is a folder at an address.

    Raises:
        InputError: There is nothing, or nobody may look.
        MissingError: The library of the store is not installed.
    """
    with faults_of(address):
        store, path = _opened(address)
        return store.info(path)["type"] == "directory"


def stamp_at(address: str) -> str:
    """Return `stamp_of` the file at an address; see `is_folder`."""
    with faults_of(address):
        store, path = _opened(address)
        return stamp_of(store.info(path))


def read_address(address: str, start: int | None = None, end: int | None = None) -> bytes:
    """Return the bytes from `start` to `end` of the file at an address.

    Raises:
        InputError: It cannot be read; the error does not say which.
        MissingError: The library of the store is not installed.
    """
    with faults_of(address, name="the file"):
        store, path = _opened(address)
        content: bytes = store.cat_file(path, start=start, end=end)
        return content


@contextlib.contextmanager
def open_address(address: str) -> Iterator[BinaryIO]:
    """Give the file at an address, opened to be read at any place; errors of reading it are those of `read_address`."""
    with faults_of(address):
        store, path = _opened(address)
        with store.open(path, "rb") as stream:
            yield stream


def _opened(address: str) -> tuple[Any, str]:
    with needed_for(f"opening {public(address)}"):
        import fsspec
    store, path = fsspec.core.url_to_fs(address)
    return store, path


@contextlib.contextmanager
def faults_of(address: str, *, name: str | None = None) -> Iterator[None]:
    """Make whatever a store raises one of our errors, without a word of the store's own."""
    name = name or printable(public(address))
    try:
        yield
    except (InputError, MissingError, MemoryError):
        raise
    except ImportError as error:
        cause = error.__cause__ if isinstance(error.__cause__, ModuleNotFoundError) else error  # s3fs, of fsspec's text
        raise missing_library(f"opening {public(address)}", cause) from None
    # A store's library raises whatever it likes: botocore's, aiohttp's and gcsfs's own errors have nothing in common.
    except Exception as error:  # noqa: BLE001 - as above
        raise InputError(f"{name} cannot be read: {_kind_of(error)}") from None


def _kind_of(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "no right to read it"
    if isinstance(error, ValueError) and "Protocol not known" in str(error):
        return "nothing installed knows such addresses"
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number in errno.errorcode:
        return f"{type(error).__name__} {errno.errorcode[number]}"
    status = getattr(error, "status", None)  # of HTTP
    return f"{type(error).__name__} {status}" if isinstance(status, int) else type(error).__name__
