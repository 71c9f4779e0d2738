"""Where the cache lies, who may write to it, and files that are larger than they may be or half written."""

import os
import pathlib

import pytest

from deepvit.runtime.errors import InputError
from deepvit.runtime.files import cache_folder, cache_root, read_bounded, replaced


def test_where_it_lies(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("DEEPVIT_CACHE", str(tmp_path / "chosen"))
    assert cache_folder("a", "b") == tmp_path / "chosen" / "a" / "b"
    monkeypatch.delenv("DEEPVIT_CACHE")
    assert cache_folder("a") == tmp_path / "xdg" / "deepvit" / "a"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == tmp_path / "home" / ".cache" / "deepvit"
    assert not cache_root().exists()
    folder = cache_folder("a")
    assert folder == tmp_path / "home" / ".cache" / "deepvit" / "a"
    assert folder.is_dir()
    assert cache_folder("a") == folder  # made before
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_a_folder_that_others_can_write_to_is_refused(tmp_path, monkeypatch, mode):
    monkeypatch.setenv("DEEPVIT_CACHE", str(tmp_path))
    cache_folder("engines").chmod(mode)
    with pytest.raises(InputError, match="engines can be written by others"):
        cache_folder("engines")


def test_a_file_in_its_way_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DEEPVIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="cannot be made: Not a directory; set DEEPVIT_CACHE"):
        cache_folder("a")


def test_a_file_of_bounded_size(tmp_path):
    path = tmp_path / "four"
    path.write_bytes(b"1234")
    assert read_bounded(path, 4, "a number") == b"1234"
    with pytest.raises(InputError) as refused:
        read_bounded(path, 3, "a number")
    assert str(refused.value) == f"{path} has 4 bytes, a number has at most 3"
    with pytest.raises(InputError) as refused:
        read_bounded(tmp_path / "missing", 3, "a number", name="‹number› missing")
    assert str(refused.value) == "‹number› missing cannot be read: No such file or directory"


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    path = tmp_path / "page"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replaced(path) as staged:
        staged.write_text("ha")
        raise KeyboardInterrupt
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("page", "old")]
    with replaced(path) as staged:
        staged.write_text("new")
        assert path.read_text() == "old"
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("page", "new")]
    with pytest.raises(FileNotFoundError), replaced(tmp_path / "missing" / "page") as staged:
        staged.write_text("new")


def test_whatever_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, why in (
        (tmp_path / "pipe", "pipe is no regular file but a pipe, socket or device; give a file"),
        (pathlib.Path("/dev/zero"), "/dev/zero is no regular file"),
        (pathlib.Path("/dev/full"), "/dev/full is no regular file"),
        (tmp_path, "cannot be read: Is a directory"),
        (tmp_path / "none", "cannot be read: No such file or directory"),
        (tmp_path / "a\0b", "cannot be read: embedded null byte"),
        (tmp_path / ("x" * 5000), "cannot be read: File name too long"),
    ):
        with pytest.raises(InputError, match=why):
            read_bounded(path, 10, "a file")


def test_a_file_that_grows_while_it_is_read_is_read_as_far_as_it_reached(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    fstat, seen = os.fstat, []

    def growing(descriptor):
        seen.append(fstat(descriptor))
        path.write_bytes(b"0123456789" * 1000)
        return seen[0]

    monkeypatch.setattr(os, "fstat", growing)
    assert read_bounded(path, 10, "a file") == b"0123456789"
