"""Folders that appear whole or not at all: through links, beside other writers, and after killed ones."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

import pytest

from deepvit.runtime.artifact import MANIFEST, MODEL, staged_artifact
from deepvit.runtime.errors import InputError
from deepvit.runtime.files import held_lock
from deepvit.runtime.files.staging import LOCK
from tests.places import ROOT

HOLDER = """
import os, pathlib, signal, sys
from deepvit.runtime.artifact import staged_artifact
with staged_artifact(pathlib.Path(sys.argv[1])) as folder:
    (folder / "model.onnx").write_text("theirs")
    (folder / "manifest.json").write_text("theirs")
    print(folder, flush=True)
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""


def stage(output, text="{}"):
    with staged_artifact(output) as folder:
        (folder / MODEL).write_text("model")
        (folder / MANIFEST).write_text(text)


@contextlib.contextmanager
def another_writer(output, ending="lives"):
    """A process that has staged an artifact and waits; it commits when its stdin closes."""
    command = [sys.executable, "-c", HOLDER, str(output), ending]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
        staging = pathlib.Path(process.stdout.readline().strip())
        yield process, staging
        process.stdin.close()


@pytest.fixture(params=["no process number is known", "every process number is"])
def numbers(request, monkeypatch):
    """The process numbers of another namespace, which say nothing of who lives."""

    def kill(_pid, _signal):
        if request.param.startswith("no "):
            raise ProcessLookupError

    monkeypatch.setattr(os, "kill", kill)


def test_what_another_process_stages_is_left_to_it(tmp_path, numbers):
    output = tmp_path / "out"
    with another_writer(output) as (process, staging):
        stage(output, "ours")
        assert (staging / MODEL).read_text() == "theirs"
        assert (output / MANIFEST).read_text() == "ours"
        process.stdin.close()
        assert process.wait() == 0
    assert (output / MANIFEST).read_text() == "theirs"
    assert os.listdir(tmp_path) == ["out"]


def test_what_a_killed_process_staged_is_removed(tmp_path, numbers):
    output = tmp_path / "out"
    with another_writer(output, "killed") as (process, staging):
        assert process.wait() == -signal.SIGKILL
    assert staging.is_dir()
    stage(output)
    assert os.listdir(tmp_path) == ["out"]


def test_what_an_earlier_version_left_is_removed_and_nothing_like_it(tmp_path, numbers):
    kept = (".out.settings", ".out.12.settingsx", ".other.12.abcdefgh", ".out.0123.staging", "out.12.abcdefgh")
    for name in (*kept, f".out.{os.getpid()}.abcdef_1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / MODEL).write_text("half")
    (tmp_path / ".out.12.abcdefg_").symlink_to(tmp_path / ".out.settings")
    stage(tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == sorted((*kept, ".out.12.abcdefg_", "out"))


def test_a_link_is_followed_and_stays(tmp_path):
    stage(tmp_path / "v1", "old")
    (tmp_path / "elsewhere").mkdir()
    current = tmp_path / "elsewhere" / "current"
    current.symlink_to("../v1")
    stage(current, "new")
    assert current.is_symlink()
    assert (tmp_path / "v1" / MANIFEST).read_text() == "new"
    assert os.listdir(current.parent) == ["current"]
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "v1"]


def test_a_link_to_nothing_yet_and_one_to_itself(tmp_path):
    (tmp_path / "current").symlink_to("v2")
    stage(tmp_path / "current", "new")
    assert (tmp_path / "v2" / MANIFEST).read_text() == "new"
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match="loop"):
        stage(tmp_path / "loop")


def test_a_folder_of_something_else_that_appears_meanwhile_is_kept(tmp_path):
    def meanwhile():
        with staged_artifact(tmp_path / "out") as folder:
            (folder / MANIFEST).write_text("{}")
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "thesis.tex").write_text("years of work")

    with pytest.raises(InputError, match="folder of something else"):
        meanwhile()
    assert (tmp_path / "out" / "thesis.tex").read_text() == "years of work"
    assert os.listdir(tmp_path) == ["out"]


def test_who_commits_waits_for_another_who_does(tmp_path):
    committed, order = threading.Event(), []

    def other():
        stage(tmp_path / "out", "theirs")
        order.append("theirs")
        committed.set()

    def require():
        thread.start()
        assert not committed.wait(0.3)
        order.append("ours")

    thread = threading.Thread(target=other)
    with staged_artifact(tmp_path / "out", require) as folder:
        (folder / MANIFEST).write_text("ours")
    thread.join()
    assert order == ["ours", "theirs"]
    assert (tmp_path / "out" / MANIFEST).read_text() == "theirs"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("taken", ["removed", "locked"])
def test_a_folder_that_was_taken_for_a_leftover_is_made_again(tmp_path, monkeypatch, taken):
    """Between its making and its lock another process may see it, which nobody holds yet."""
    make, made = tempfile.mkdtemp, []

    with contextlib.ExitStack() as others:

        def interfered(**options):
            path = pathlib.Path(make(**options))
            made.append(path)
            if len(made) == 1 and taken == "removed":
                path.rmdir()
            elif len(made) == 1:
                others.enter_context(held_lock(path / LOCK, wait=False))
            return str(path)

        monkeypatch.setattr(tempfile, "mkdtemp", interfered)
        stage(tmp_path / "out")
    assert len(made) == 2
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_while_what_was_staged_is_removed_leaves_nothing(tmp_path, monkeypatch, interruption):
    real, calls = shutil.rmtree, []

    def interrupted_once(path, **options):
        calls.append(path)
        if len(calls) == 1:
            raise interruption
        real(path, **options)

    monkeypatch.setattr(shutil, "rmtree", interrupted_once)
    with pytest.raises(interruption), staged_artifact(tmp_path / "a") as staging:
        (staging / MANIFEST).write_text("{}")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".a.") and path.is_dir()] == []
    assert len(calls) == 2
    assert (tmp_path / "a" / MANIFEST).is_file()
