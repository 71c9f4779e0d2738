"""Blocks on disk: what was written is read, and what is damaged, or of other images or another run, is not."""

import io
import os
import resource
import sqlite3
import zipfile

import numpy as np
import pytest

from deepvit.measure.evaluate.block_store import BlockStore
from deepvit.runtime.errors import InputError, MissingError

IMAGES, OTHERS = b"\1" * 32, b"\2" * 32
ARRAYS = {"a": np.arange(6).reshape(2, 3), "b": np.array(0.5), "c": np.zeros((0, 4), np.int32)}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "run-1.sqlite"
    store = BlockStore(path)
    for number in (0, 1):
        store.write(number, IMAGES, ARRAYS)
    store.close()
    return path


def _read(path, number=0, images=IMAGES):
    store = BlockStore(path)
    try:
        return store.read(number, images)
    finally:
        store.close()


def _is_written(found):
    return found is not None and found.keys() == ARRAYS.keys() and all(
        np.array_equal(found[name], ARRAYS[name]) and found[name].dtype == ARRAYS[name].dtype for name in ARRAYS
    )  # fmt: skip


@pytest.mark.parametrize("is_in_memory", [True, False])
def test_what_is_written_is_read(tmp_path, is_in_memory):
    store = BlockStore(None if is_in_memory else tmp_path / "a.sqlite")
    assert store.numbers() == set()
    assert store.read(3, IMAGES) is None
    store.write(3, IMAGES, ARRAYS)
    assert (store.numbers(), store.has(3), store.has(4)) == ({3}, True, False)
    assert _is_written(store.read(3, IMAGES))
    assert _is_written(store.read(3))
    store.write(3, OTHERS, {"a": np.ones(1)})
    assert store.read(3, IMAGES) is None
    assert store.read(3, OTHERS)["a"] == [1]
    store.remove(3)
    assert store.numbers() == set()
    store.close()


def test_a_block_counts_for_its_images_and_its_run_alone(path):
    assert _is_written(_read(path))
    assert _read(path, images=OTHERS) is None
    assert _read(path.rename(path.with_name("run-2.sqlite"))) is None


def _changed(statement, *values):
    def change(path):
        with sqlite3.connect(path) as connection:
            connection.execute(statement, values)
        connection.close()

    return change


def _archive(content=b"", name="a.npy"):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def _pickled():
    stream = io.BytesIO()
    np.savez(stream, a=np.array([{}], object))
    return stream.getvalue()


ROWS = {
    "no archive": b"garbage",
    "empty": b"",
    "half of it": _archive(bytes(500))[:200],
    "a bomb": _archive(bytes(50 << 20)),
    "an object": _pickled(),
    "other names": _archive(b"\x93NUMPY", "b"),
    "a number": 7,
    "text": "garbage",
    "null": None,
}


@pytest.mark.parametrize("content", ROWS.values(), ids=ROWS.keys())
def test_a_damaged_row_is_no_block(path, content):
    _changed("UPDATE blocks SET arrays = ? WHERE number = 0", content)(path)
    assert _read(path) is None
    assert _is_written(_read(path, 1))


@pytest.mark.parametrize("column", ["images", "arrays", "sha256"])
def test_rows_that_are_mixed_up_are_no_blocks(path, column):
    store = BlockStore(path)
    store.write(1, OTHERS, {"a": np.ones(1)})
    store.close()
    _changed(f"UPDATE blocks SET {column} = (SELECT {column} FROM blocks WHERE number = 1) WHERE number = 0")(path)
    assert _read(path) is None
    assert _read(path, images=OTHERS) is None
    assert _read(path, images=None) is None


def test_a_row_under_another_number_is_no_block(path):
    _changed("UPDATE blocks SET number = 5 WHERE number = 0")(path)
    assert _read(path, 5) is None


def test_what_is_hashed_but_no_archive_is_no_block(path):
    for content in (b"", b"garbage", _archive(b"\x93NUMPY"), _pickled()):
        store = BlockStore(path)
        row = (0, IMAGES, content, store._sha256(0, IMAGES, content))
        store._execute("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?)", row)
        store.close()
        assert not _is_written(_read(path))


def _other_table(path):
    path.unlink()
    _changed("CREATE TABLE blocks (number INTEGER PRIMARY KEY, arrays BLOB)")(path)


def _more_tables(path):
    _changed("CREATE TRIGGER t AFTER INSERT ON blocks BEGIN DELETE FROM blocks; END")(path)


def _halved(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _garbage_inside(path):
    content = bytearray(path.read_bytes())
    content[4096:4200] = b"\xff" * 104
    path.write_bytes(content)


def _folder(path):
    path.unlink()
    path.mkdir()
    (path / "file").touch()


def _log_folder(path):
    path.with_name(path.name + "-wal").mkdir()


FILES = {
    "garbage": lambda path: path.write_bytes(b"no database" * 1000),
    "halved": _halved,
    "garbage inside": _garbage_inside,
    "another table": _other_table,
    "more tables": _more_tables,
    "a folder": _folder,
    "a folder for its log": _log_folder,
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("damage", FILES.values(), ids=FILES.keys())
def test_a_damaged_file_is_begun_anew(path, damage, caplog):
    damage(path)
    store = BlockStore(path)
    store.write(0, IMAGES, ARRAYS)
    store.close()
    assert _is_written(_read(path))
    if damage is not FILES["empty"]:  # which is an empty database
        assert "is found anew" in caplog.text


def test_what_lies_at_its_place_and_is_no_file_is_kept(path):
    _folder(path)
    BlockStore(path).close()
    (aside,) = path.parent.glob("*.aside")
    assert (aside / "file").is_file()


def test_a_file_that_another_process_holds_is_refused(path, monkeypatch):
    from deepvit.measure import database

    monkeypatch.setattr(database, "BUSY_S", 0.01)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(InputError, match="in use by another process"):
        BlockStore(path).write(0, IMAGES, ARRAYS)
    holder.close()
    assert _is_written(_read(path))


def test_a_file_that_cannot_be_made(tmp_path):
    with pytest.raises(InputError, match="cannot be used"):
        BlockStore(tmp_path / "none" / "a.sqlite")


def test_a_full_disk(path):
    store = BlockStore(path)
    store._connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(MissingError, match="no room on the disk"):
        store.write(2, IMAGES, {"a": np.zeros(100_000)})
    store.close()


@pytest.mark.parametrize(
    "code",
    [
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
    ],
)
def test_a_sound_file_is_not_removed_for_what_the_machine_lacks(path, code, monkeypatch):
    def failing(*_arguments, **_options):
        error = sqlite3.OperationalError("no")
        error.sqlite_errorcode = code
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", failing)
        with pytest.raises((InputError, MissingError)):
            BlockStore(path)
    assert _is_written(_read(path))


def test_a_sound_file_is_not_removed_where_no_more_files_can_be_opened(path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + 1, hard))
    try:
        with pytest.raises(InputError, match="cannot be used"):
            BlockStore(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert _is_written(_read(path))
