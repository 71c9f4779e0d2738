"""What is shown while a command works: lines now and then, or JSON lines, and how long the rest will take."""

import json
import logging

import pytest

from deepvit.commands.terminal import progress
from tests.commands.command_line import run_here


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture(params=[progress.Form.LINES, progress.Form.JSON], ids=lambda form: form.value)
def form(request, monkeypatch):
    monkeypatch.setattr(progress._Log, "form", request.param)
    return request.param


def test_progress_has_a_rate_and_the_time_left(form, clock, capsys):
    with progress.progress_bar("evaluating", 1000) as advance:
        for done in (400, 450, 500, 600):  # a run that was resumed at 400
            advance(done, 1000)
            clock[0] += 20
        advance(1000, 1000)
    said = capsys.readouterr().err.splitlines()
    if form is progress.Form.JSON:
        events = [json.loads(line) for line in said]
        assert {event["event"] for event in events} == {"progress"}
        assert [(event["done"], event["total"]) for event in events] == [
            (450, 1000),
            (500, 1000),
            (600, 1000),
            (1000, 1000),
        ]
        assert events[1]["per_second"] == pytest.approx(100 / 40)
        assert events[1]["seconds_left"] == pytest.approx(200)
        assert events[-1]["seconds_left"] == 0
    else:
        assert said == [
            "evaluating: 450 of 1000 (45%), 2.5/s, 3:40 left",
            "evaluating: 500 of 1000 (50%), 2.5/s, 3:20 left",
            "evaluating: 600 of 1000 (60%), 3.3/s, 2:00 left",
            "evaluating: 1000 of 1000 (100%), 7.5/s, 0:00 left",
        ]


def test_what_is_quickly_done_gives_no_lines(clock, capsys, monkeypatch):
    monkeypatch.setattr(progress._Log, "form", progress.Form.LINES)
    with progress.progress_bar("evaluating", 3) as advance:
        for done in (1, 2, 3):
            clock[0] += 1
            advance(done, 3)
    assert capsys.readouterr().err == ""


def test_steps_and_builds(form, clock, capsys):
    with progress.steps() as step:
        step("folding")(1, 2)
    with progress.build_bar("building") as bar:
        bar("Tactics", 0.5)
    progress.note("random weights")
    said = capsys.readouterr().err.splitlines()
    if form is progress.Form.JSON:
        assert [json.loads(line)["event"] for line in said] == ["step", "done", "step", "note"]
    else:
        assert said == ["· folding", "· building", "random weights"]


def test_every_step_says_how_long_it_took(clock, capsys, monkeypatch):
    monkeypatch.setattr(progress._Log, "form", progress.Form.JSON)
    with progress.steps() as step:
        step("folding")
        clock[0] += 2
        step("tracing")
        clock[0] += 3
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    done = {event["what"]: event for event in events if event["event"] == "done"}
    assert {what: event["seconds"] for what, event in done.items()} == {"folding": 2, "tracing": 3}
    assert all(event["cpu_seconds"] >= 0 for event in done.values())


def test_a_step_that_failed_is_not_done(capsys, monkeypatch):
    monkeypatch.setattr(progress._Log, "form", progress.Form.JSON)

    def fail():
        with progress.steps() as step:
            step("folding")
            raise ValueError

    with pytest.raises(ValueError, match=""):
        fail()
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["step"]


def test_hours_are_shown():
    assert [progress._clock(seconds) for seconds in (59, 61, 3725)] == ["0:59", "1:01", "1:02:05"]


def test_errors_and_warnings_are_events(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress._Log, "form", progress.Form.LINES)
    handlers = logging.getLogger().handlers[:]
    try:
        code = run_here(["inspect", str(tmp_path / "nothing"), "--log-json"])
        logging.getLogger("runtime").warning("left out %s", "x.png")
    finally:
        logging.getLogger().handlers[:] = handlers
    *_, error, warning = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (code, error["event"], error["exit_code"]) == (2, "error", 2)
    assert "does not exist" in error["message"]
    assert (warning["event"], warning["message"]) == ("warning", "left out x.png")
