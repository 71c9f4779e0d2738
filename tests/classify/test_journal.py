"""A run goes on where it was killed, nothing twice and nothing lost; a journal counts for its own run alone."""

import dataclasses
import signal
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from deepvit.classify import request as requests
from deepvit.classify.journal import Journal, open_journal
from deepvit.classify.options import Answer
from deepvit.runtime.errors import InputError
from tests.classify.red_images import red_classifier, red_folder, red_image, red_job, written
from tests.places import ROOT

SHA256 = "ab" * 32
RECORD = {"labels": np.zeros((2, 1), np.int32)}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPVIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "classification"


def interrupted(folder, after, **options):
    """Run, and stop after so many images."""

    def stop(done, _total):
        if done >= after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        written(red_job(folder, **options), stop)


def runs_of(job):
    """What a job writes, and how many batches it ran for it."""
    session = job.classifier.model.session
    return written(job), session.runs


def test_an_interrupted_run_goes_on(tmp_path, cache):
    red_folder(tmp_path / "d", 22)
    whole, runs = runs_of(red_job(tmp_path / "d"))
    assert runs == 6
    assert list(cache.iterdir()) == []
    interrupted(tmp_path / "d", 12)
    assert [path.suffix for path in cache.iterdir()] == [".sqlite"]
    assert runs_of(red_job(tmp_path / "d", resume=True)) == (whole, 3)
    assert list(cache.iterdir()) == []
    interrupted(tmp_path / "d", 12)
    assert runs_of(red_job(tmp_path / "d")) == (whole, 6)  # without being asked to go on


def test_a_killed_run_goes_on(tmp_path):
    red_folder(tmp_path / "d", 22)
    whole = written(red_job(tmp_path / "d"))
    command = [sys.executable, "-m", "tests.classify.red_images", str(tmp_path / "d"), "0.05"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if int(line) >= 8:
                process.send_signal(signal.SIGKILL)
                break
    text, runs = runs_of(red_job(tmp_path / "d", resume=True))
    assert text == whole
    assert 2 <= runs <= 4


@pytest.mark.parametrize("change", ["image", "new image", "options", "model", "batch size"])
def test_another_run_begins_anew(tmp_path, change):
    red_folder(tmp_path / "d", 22)
    interrupted(tmp_path / "d", 12)
    options = {"resume": True}
    if change == "image":
        red_image(tmp_path / "d" / "0" / "000.png", 9)
        (tmp_path / "d" / "0" / "000.png").touch()
    if change == "new image":
        red_image(tmp_path / "d" / "0" / "999.png", 9)
    if change == "options":
        options["answer"] = Answer(top=2)
    if change == "batch size":
        options["batch_size"] = 5
    job = red_job(tmp_path / "d", **options)
    if change == "model":
        model = dataclasses.replace(job.classifier.model, file_sha256="1" * 64)
        job = dataclasses.replace(job, classifier=red_classifier(job.request.answer))
        job.classifier.model = dataclasses.replace(model, session=job.classifier.model.session)
    _, runs = runs_of(job)
    assert runs == job.blocks


def test_records_of_another_list_and_damaged_ones_are_run_again(tmp_path):
    path = tmp_path / "j.sqlite"
    journal = Journal(path, SHA256, 3)
    for number in range(3):
        journal.write(number, RECORD)
    assert list(journal.missing()) == []
    journal.close()
    other = Journal(path, "cd" * 32, 3)
    with pytest.raises(InputError, match="block 1 was lost or damaged"):
        other.record(1)
    other.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE blocks SET arrays = zeroblob(length(arrays)) WHERE number = 1")
    connection.close()
    journal = Journal(path, SHA256, 4)
    assert list(journal.missing()) == [1, 3]
    journal.close()


def test_one_at_a_time(tmp_path):
    refused = pytest.raises(InputError, match="the same classification is running")
    with open_journal(["run"], SHA256, 1, resume=False), refused, open_journal(["run"], SHA256, 1, resume=True):
        pass


def test_without_a_cache_folder_a_run_is_made_all_the_same(tmp_path, monkeypatch, caplog):
    red_folder(tmp_path / "d", 5)
    (tmp_path / "file").touch()
    monkeypatch.setenv("DEEPVIT_CACHE", str(tmp_path / "file"))
    assert len(written(red_job(tmp_path / "d"))) == 5
    assert "this classification cannot be resumed" in caplog.text
    with pytest.raises(InputError, match="cache folder"):
        written(red_job(tmp_path / "d", resume=True))


def test_a_failed_output_keeps_the_journal(tmp_path, cache):
    red_folder(tmp_path / "d", 5)
    job = red_job(tmp_path / "d")
    with pytest.raises(OSError, match="full"), requests.classified(job, lambda *_: None):
        raise OSError("full")
    assert [path.suffix for path in cache.iterdir()] == [".sqlite"]
