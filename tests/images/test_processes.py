"""Worker processes: Ctrl-C does not reach them, and they do not outlive who started them."""

import os
import signal
import subprocess
import sys

import pytest

from deepvit.processes import without_interrupts
from tests.places import ROOT

SECONDS = 60
IS_BLOCKED = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
FIRST = """
import multiprocessing, signal
from deepvit.processes import without_interrupts

def tell():
    print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=tell)
    with without_interrupts():
        process.start()
    process.join()
"""
MEANWHILE = """
import signal
from deepvit.processes import without_interrupts

arrived = []
signal.signal(signal.SIGINT, lambda *_: arrived.append(len(arrived)))
with without_interrupts():
    signal.raise_signal(signal.SIGINT)
    meanwhile = arrived[:]
print(meanwhile, arrived)
"""
PARENT = """
import multiprocessing, os, sys, threading
from deepvit.processes import end_with_parent

def work(ends):
    if ends:
        end_with_parent()
    print(os.getpid(), flush=True)
    threading.Event().wait()

if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=work, args=(sys.argv[1:] == ["ends"],)).start()
"""


def is_interrupt_blocked():
    command = [sys.executable, "-c", IS_BLOCKED]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True\n"


def test_what_is_started_without_interrupts_blocks_them():
    with without_interrupts():
        assert is_interrupt_blocked()
    assert not is_interrupt_blocked()


def test_the_first_process_of_a_python_blocks_them_too(tmp_path):
    (tmp_path / "first.py").write_text(FIRST)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, tmp_path / "first.py"]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=True)
    assert told.stdout == "True\n"


def test_an_interrupt_meanwhile_comes_when_the_block_ends():
    """In a Python of its own: what went wrong with a signal would end the one that runs the tests."""
    command, environment = [sys.executable, "-c", MEANWHILE], os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[] [0]\n", "")


@pytest.fixture
def orphan(tmp_path):
    """A function: how the worker was started → the worker's pid, and its killed parent, whose stdout both hold."""
    (tmp_path / "parent.py").write_text(PARENT)
    started = []

    def start(how):
        command = [sys.executable, tmp_path / "parent.py", how]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        parent = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
        started.append(parent)
        worker = int(parent.stdout.readline())
        parent.kill()
        return worker, parent

    yield start
    for parent in started:
        parent.stdout.close()
        parent.wait()


def test_a_worker_ends_with_a_killed_parent(orphan):
    _worker, parent = orphan("ends")
    parent.communicate(timeout=SECONDS)  # returns when nobody holds stdout any more


def test_a_worker_that_does_not_watch_is_seen(orphan):
    worker, parent = orphan("stays")
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            parent.communicate(timeout=1)
    finally:
        os.kill(worker, signal.SIGKILL)
