"""Stores: read as folders are, and whatever they say when they fail, nothing of it is repeated."""

import contextlib
import pathlib
import sys

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from deepvit.classify.sources import storage
from deepvit.classify.sources.listing import Listing
from deepvit.runtime.errors import InputError, MissingError
from tests.classify.red_images import red_classifier, red_folder

SECRET = "wJalrXUtnFEMI"


@pytest.fixture
def store(tmp_path):
    """memory://photos with the images of a folder; the expected class of each by its address."""
    expected = red_folder(tmp_path / "d", 10)
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "d"), "/photos", recursive=True)
    memory.pipe("/photos/notes.txt", b"none")
    yield {f"memory://photos{path.removeprefix(str(tmp_path / 'd'))}": label for path, label in expected.items()}
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


def classified(*sources):
    return {row.path: row.label for row in red_classifier().classify(sources, batch_size=4)}


def test_folders_patterns_files_and_lists(store, tmp_path):
    assert classified("memory://photos") == classified("memory://photos/") == store
    assert list(classified("memory://photos")) == list(store)
    below = {name: label for name, label in store.items() if "/1/" in name}
    assert classified("memory://photos/1/*.png") == classified("memory://photos/1") == below
    assert classified("memory://photos/**/*.png") == store
    (first, *_) = store
    assert classified(first) == {first: store[first]}
    (tmp_path / "list.txt").write_text("\n".join(reversed(store)))
    assert list(classified(tmp_path / "list.txt")) == list(reversed(store))


def test_shards_and_tables_in_a_store(store, tmp_path):
    import pyarrow
    import pyarrow.parquet

    memory = fsspec.filesystem("memory")
    contents = [memory.cat(name) for name in store]
    pyarrow.parquet.write_table(pyarrow.table({"image": contents}), tmp_path / "t.parquet")
    memory.put(str(tmp_path / "t.parquet"), "/tables/t.parquet")
    assert list(classified("memory://tables/*.parquet").values()) == list(store.values())
    import tarfile

    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        archive.add(tmp_path / "d", "d")
    memory.put(str(tmp_path / "t.tar"), "/tables/t.tar")
    rows = classified("memory://tables/t.tar")
    assert {name.removeprefix("memory://tables/t.tar/d"): label for name, label in rows.items()} == {
        name.removeprefix("memory://photos"): label for name, label in store.items()
    }


def test_what_changes_a_list_of_a_store(store):
    before = Listing(["memory://photos"]).sha256
    assert Listing(["memory://photos"]).sha256 == before
    (first, *_) = store
    fsspec.filesystem("memory").pipe(first, b"another")
    assert Listing(["memory://photos"]).sha256 != before


def test_what_is_not_there(store, tmp_path):
    for address in ("memory://nowhere", "memory://nowhere/a.png", "memory://nowhere/*.png"):
        with pytest.raises(InputError, match=r"memory://nowhere.* cannot be read: there is no such file"):
            Listing([address])
    (tmp_path / "list.txt").write_text("memory://nowhere/a.png")
    (row,) = red_classifier().classify(tmp_path / "list.txt")
    assert row.error == "the file cannot be read: there is no such file"


class TellingStore(MemoryFileSystem):
    """Says all that it was given when it fails."""

    protocol = "telling"

    def info(self, path, **_):
        raise RuntimeError(f"403 for {path}?X-Amz-Signature={SECRET}: key {SECRET}")

    cat_file = walk = info


@pytest.fixture
def telling():
    fsspec.register_implementation("telling", TellingStore, clobber=True)
    return f"telling://user:{SECRET}@bucket"


def text_of(error):
    """Everything that a traceback of an error would print."""
    import traceback

    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize("below", ["", "/a.png", "/*.png"])
def test_a_store_that_tells_secrets(telling, below):
    with pytest.raises(InputError, match=r"telling://bucket.* cannot be read: RuntimeError$") as raised:
        Listing([telling + below])
    assert SECRET not in text_of(raised.value)


def test_rows_and_names_have_no_secrets(telling, tmp_path):
    (tmp_path / "list.txt").write_text(f"{telling}/a.png?X-Amz-Signature={SECRET}\n{telling}/b.png\n")
    rows = list(red_classifier().classify(tmp_path / "list.txt"))
    assert [(row.path, row.error) for row in rows] == [
        (f"telling://bucket/{name}.png", "the file cannot be read: RuntimeError") for name in "ab"
    ]
    assert SECRET not in str(rows)


def test_a_list_with_secrets_is_in_no_file(telling, tmp_path):
    """SQLite's own file for it has no name."""
    lines = (f"{telling}/{number}.png?X-Amz-Signature={SECRET}" for number in range(30_000))
    (tmp_path / "list.txt").write_text("\n".join(lines))
    before = open_files()
    listing = Listing([str(tmp_path / "list.txt")])
    assert [name.endswith(" (deleted)") for name in open_files() - before] == [True]
    listing.close()


def open_files():
    found = set()
    for path in pathlib.Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # that of this listing
            found.add(str(path.readlink()))
    return found


def test_a_store_whose_library_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(
        MissingError, match="opening s3://bucket/a.png needs s3fs, which is not installed; pip install s3fs"
    ):
        storage.stamp_at(f"s3://user:{SECRET}@bucket/a.png")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(
        MissingError, match="opening s3://bucket/a.png needs fsspec, which is not installed; pip install"
    ):
        storage.stamp_at("s3://bucket/a.png")


def test_addresses_that_nobody_knows():
    with pytest.raises(
        InputError, match="nosuch://bucket/a.png cannot be read: nothing installed knows such addresses"
    ):
        storage.stamp_at("nosuch://bucket/a.png")
