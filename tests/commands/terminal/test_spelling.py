"""One text for two readers: who embeds the library reads parameters, a terminal reads flags and its own program."""

import logging

import pytest

from deepvit.calibration.options import QuantizationOptions
from deepvit.commands.terminal.progress import LineFormatter
from deepvit.commands.terminal.spelling import program, shown, spelled
from deepvit.runtime.errors import InputError
from tests.places import ROOT

TEXT = "‹calibration_images› 0 with ‹deepvit› export ‹fp8›; ‹A›, ‹› and a‹ are nobody's"


@pytest.mark.parametrize(
    ("argv0", "folder", "path", "expected"),
    [
        ("cli.py", ROOT, "/venv/bin", "python cli.py"),
        ("cli.py", ROOT, "/nothing", "/venv/bin/python cli.py"),
        ("anything", ROOT, "/venv/bin", "python cli.py"),
        (str(ROOT / "cli.py"), "/", "/venv/bin", f"python {ROOT}/cli.py"),
        ("/venv/bin/deepvit", ROOT, "/venv/bin", "deepvit"),
        ("/a b/deepvit", ROOT, "/venv/bin", "'/a b/deepvit'"),
    ],
)
def test_a_text_is_spelled_for_the_program_that_runs(argv0, folder, path, expected, monkeypatch):
    monkeypatch.setattr("sys.argv", [argv0])
    monkeypatch.setattr("sys.executable", "/venv/bin/python")
    monkeypatch.setattr("shutil.which", lambda name: f"{path}/{name}" if path == "/venv/bin" else None)
    monkeypatch.chdir(folder)
    assert program() == expected
    said = f"--calibration-images 0 with {expected} export --fp8; ‹A›, ‹› and a‹ are nobody's"
    assert spelled(TEXT) == said
    assert spelled(said) == said
    record = logging.LogRecord("a", logging.WARNING, "", 1, "left out: %s", (TEXT,), None)
    assert LineFormatter().format(record) == f"left out: {said}"


def test_the_library_names_parameters():
    with pytest.raises(InputError) as refused:
        QuantizationOptions(images=0)
    assert str(refused.value) == "‹calibration_images› 0: expected 1 to 100000"
    assert spelled(str(refused.value)) == "--calibration-images 0: expected 1 to 100000"


def test_what_would_steer_a_terminal_is_shown_in_escapes():
    assert shown("a\x1b]0;title\x07\r\x9b2J\u202eb\udcff") == r"a\x1b]0;title\x07\r\x9b2J\u202eb\udcff"
    plain = "‹A› é × 中 👩\u200d🚀\tb\nc"
    assert shown(plain) == plain
    record = logging.LogRecord("a", logging.WARNING, "", 1, "left out: %s", ("\x1b[2J",), None)
    assert LineFormatter().format(record) == r"left out: \x1b[2J"
