"""Where the cache lies, who may write to it, and files that are larger than they may be or half written."""

import fcntl
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.files import cache_folder, cache_root, held_lock, read_bounded, replaced, require_room, write_error
from tests.places import ROOT


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


@pytest.mark.parametrize("names", [(), ("a",)])
def test_folders_above_are_held_to_the_same(tmp_path, monkeypatch, names):
    """Who can write to the root can move what lies in it away."""
    monkeypatch.setenv("DEEPVIT_CACHE", str(tmp_path / "root"))
    cache_folder("a", "b")
    tmp_path.joinpath("root", *names).chmod(0o777)
    with pytest.raises(InputError, match=r"can be written by others, .* chmod 700 it"):
        cache_folder("a", "b")


def test_a_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPVIT_CACHE", str(tmp_path / "root"))
    cache_folder("a")
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(InputError, match=r"root belongs to another user .*set DEEPVIT_CACHE"):
        cache_folder("a")


def test_links_to_a_folder_are_resolved(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPVIT_CACHE", str(tmp_path / "link"))
    (tmp_path / "link").symlink_to("place")
    assert cache_folder("a") == tmp_path / "place" / "a"
    (tmp_path / "place" / "b").symlink_to(tmp_path / "shared")
    (tmp_path / "shared").mkdir()
    assert cache_folder("b") == tmp_path / "shared"
    (tmp_path / "shared").chmod(0o777)
    with pytest.raises(InputError, match="shared can be written by others"):
        cache_folder("b")


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


def test_a_link_is_followed_and_the_mode_stays(tmp_path):
    (tmp_path / "v1").write_text("old")
    (tmp_path / "v1").chmod(0o640)
    (tmp_path / "page").symlink_to("v1")
    with replaced(tmp_path / "page") as staged:
        staged.write_text("new")
    assert (tmp_path / "page").is_symlink()
    assert (tmp_path / "v1").read_text() == "new"
    assert (tmp_path / "v1").stat().st_mode & 0o777 == 0o640


def test_nobody_can_know_where_it_is_written(tmp_path):
    """A link that was planted there would be written through."""
    names = []
    for _ in range(2):
        with replaced(tmp_path / "page") as staged:
            assert staged.parent == tmp_path
            names.append(staged.name)
            staged.write_text("new")
    assert names[0] != names[1]
    assert not any(str(os.getpid()) == part for name in names for part in name.split("."))


def test_a_pipe_is_written_as_it_is(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    with replaced(tmp_path / "pipe") as staged:
        staged.write_text("result")
    reader.join()
    assert read == ["result"]
    assert (tmp_path / "pipe").is_fifo()


def test_where_this_process_prints_is_not_replaced(tmp_path):
    code = (
        "import pathlib; from deepvit.runtime.files import replaced\n"
        "with replaced(pathlib.Path('/dev/stdout')) as staged:\n    staged.write_text('result')\n"
    )
    with (tmp_path / "printed").open("w") as stdout:
        before = os.fstat(stdout.fileno()).st_ino
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=stdout, check=True)
    assert (tmp_path / "printed").read_text() == "result"
    assert (tmp_path / "printed").stat().st_ino == before
    got = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert got.stdout == "result"


def test_what_a_killed_process_wrote_of_a_file_is_removed(tmp_path):
    code = (
        "import os, pathlib, signal, sys; from deepvit.runtime.files import replaced\n"
        "with replaced(pathlib.Path(sys.argv[1])) as staged:\n"
        "    staged.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "page"
    killed = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 1
    with replaced(path) as ours, replaced(path) as others:
        others.write_text("others")
        ours.write_text("ours")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("page", "ours")]


def test_a_lock_is_held_alone_and_leaves_nothing(tmp_path):
    path = tmp_path / "lock"
    with held_lock(path, wait=False), pytest.raises(BlockingIOError), held_lock(path, wait=False):
        raise AssertionError("it was held twice")
    assert os.listdir(tmp_path) == []
    (tmp_path / "elsewhere").touch()
    path.symlink_to("elsewhere")
    with pytest.raises(OSError, match="symbolic links"), held_lock(path, wait=False):
        raise AssertionError("a link was followed")


def test_who_waits_for_a_lock_that_is_removed_makes_another(tmp_path, monkeypatch):
    """It would hold a file that is gone else, and who came later the new file: two at once."""
    path, flock = tmp_path / "lock", fcntl.flock
    opened, entered, leave = threading.Event(), threading.Event(), threading.Event()

    def wait_for_it():
        with held_lock(path, wait=True):
            entered.set()
            leave.wait()

    def told(*arguments):
        opened.set()
        flock(*arguments)

    waiting = threading.Thread(target=wait_for_it)
    with held_lock(path, wait=False):
        monkeypatch.setattr(fcntl, "flock", told)
        waiting.start()
        opened.wait()
    entered.wait()
    try:
        with pytest.raises(BlockingIOError), held_lock(path, wait=False):
            raise AssertionError("it was held twice")
    finally:
        leave.set()
        waiting.join()
    assert os.listdir(tmp_path) == []


def test_what_the_user_is_told(tmp_path):
    full, denied = OSError(28, "No space left on device"), OSError(13, "Permission denied")
    assert isinstance(write_error(tmp_path, "‹output›", full), MissingError)
    assert str(write_error(pathlib.Path("a"), "‹output›", full)).endswith(
        "free some or name another place with ‹output›"
    )
    assert isinstance(write_error(tmp_path, None, denied), InputError)
    assert str(write_error(pathlib.Path("a"), None, denied)) == (
        "a cannot be written: Permission denied; name another place"
    )


@pytest.fixture
def little_room(monkeypatch):
    """12 MB on every disk."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 0, 12_000_000))


def test_work_that_would_not_fit_is_refused(tmp_path, little_room):
    require_room(tmp_path / "no" / "folder", 12_000_000, "‹output›")
    with pytest.raises(MissingError) as refused:
        require_room(tmp_path / "no" / "folder", 170_000_000, "‹output›")
    assert str(refused.value) == (
        f"{tmp_path}/no/folder needs about 170 MB, 12 MB are free there; free some or name another place with ‹output›"
    )
    (tmp_path / "crops").write_bytes(b"x" * 2_000_000)
    require_room(tmp_path / "crops", 13_000_000, "DEEPVIT_CACHE")  # of which two are there already


def test_a_lock_that_others_hold_meanwhile_is_not_removed(tmp_path):
    path = tmp_path / "lock"
    with held_lock(path, wait=False):
        path.unlink()  # as a whole folder is removed with the lock in it
        path.write_text("another's")
    assert path.read_text() == "another's"
