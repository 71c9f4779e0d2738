"""What fits a terminal of 80 columns: tables and lines of results, with no word broken."""

import re

import pytest

from deepvit.commands.terminal.console import hanging, out
from tests.commands.command_line import run_here

LONG = "a-model-with-a-name-that-is-longer-than-most-but-still-one-word"


@pytest.fixture
def terminal(monkeypatch):
    """Let stdout be shown as on a terminal of 80 columns."""
    monkeypatch.setattr(out, "_force_terminal", True)
    monkeypatch.setattr(out, "_color_system", None)
    monkeypatch.setattr(out, "_width", 80)
    monkeypatch.setenv("COLUMNS", "80")


def lines(capsys):
    said = capsys.readouterr().out
    return [line.rstrip() for line in said.splitlines() if not line.startswith("next: ")]


def words(text):
    """Words of a text; without what is free of memory and disk, which others take meanwhile."""
    return set(re.findall(r"\w[\w.:/-]*\w", re.sub(r"[\d.]+ GiB", "GiB", text)))


@pytest.mark.parametrize(
    "arguments",
    [
        ["models"],
        ["doctor"],
        ["inspect", "ARTIFACT"],
        ["export", "digits_cnn", "--pretrained", "--output", "OUTPUT"],
        [
            "sensitivity",
            "digits_cnn",
            "--pretrained",
            "--imagenet",
            "DIGITS",
            "--images",
            "2",
            "--calibration-images",
            "4",
        ],
    ],
    ids=lambda arguments: arguments[0],
)
def test_results_fit_80_columns_and_break_no_word(arguments, exported, digits, capsys, request, tmp_path):
    places = {"ARTIFACT": str(exported), "DIGITS": str(digits), "OUTPUT": str(tmp_path / "a")}
    arguments = [places.get(each, each) for each in arguments]
    assert run_here(arguments) == 0
    expected = words("\n".join(lines(capsys)))
    request.getfixturevalue("terminal")
    assert run_here(arguments) == 0
    shown = lines(capsys)
    assert len(shown) > 8
    commands = [line for line in shown if "cli.py" in line]  # which are whole
    long = [line for line in shown if len(line) > 80 and line not in commands]
    assert [line for line in long if " " in line.strip()] == []  # a path of one word stays whole
    assert expected - words("\n".join(shown)) == set()


def test_lines_end_at_the_width_of_a_terminal(terminal, capsys):
    out.print(f"{'word ' * 20}{LONG} end")
    out.print(f"a command is whole, however long: ‹deepvit› {'build ' * 20}")
    first, second, third, command = capsys.readouterr().out.splitlines()
    assert [len(first) <= 80, second.startswith("  word"), third.split()[-1]] == [True, True, "end"]
    assert len(command) > 120
    assert hanging("one line", "  ") == "one line"


def test_lines_are_whole_elsewhere(capsys):
    out.print("word " * 50)
    assert len(capsys.readouterr().out.splitlines()) == 1
