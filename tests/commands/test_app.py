"""The command line as a whole: the help of every command at 80 columns, completion, version, the table of variants."""

import os
import re
import subprocess
import sys

import pytest
import typer

import deepvit.commands.app
from deepvit.commands.app import COMMANDS
from tests.commands.command_line import HERE, run, run_anew, run_here
from tests.places import ROOT

NAMES = [name for name, _summary, _example in COMMANDS.values()]
LEANS = re.compile(r"^(of|for|to|at|from|whose|which of them|how many of them|likewise|else|so many)\b", re.IGNORECASE)


def test_models():
    listed = run_anew("models")
    assert listed.returncode == 0
    for name in ("deepvit_l_384", "84.25", "deepvit_patch16_224_re_attn_32b"):
        assert name in listed.stdout


@pytest.fixture
def shown(monkeypatch, capsys):
    """What a terminal of 80 columns shows of a command."""
    monkeypatch.setenv("COLUMNS", "80")

    def show(*arguments):
        assert run_here(arguments) == 0
        return capsys.readouterr().out

    return show


def options_of(command):
    return typer.main.get_command(deepvit.commands.app.app).commands[command].params


@pytest.mark.parametrize("command", ["", *NAMES])
def test_help_fits_80_columns_and_breaks_no_word(command, shown):
    text = shown(*command.split(), "--help")
    too_long = [line for line in text.splitlines() if len(line) > 80]
    assert [line for line in too_long if str(ROOT) not in line and sys.executable not in line] == []
    flowing = " ".join(text.split())
    for option in options_of(command) if command else ():
        assert " ".join(option.help.split()) in flowing


def test_summaries_are_whole(shown):
    text = shown("--help")
    assert "..." not in text.replace("[ARGS]...", "")
    for name, summary, _example in COMMANDS.values():
        assert re.search(rf"^  {name} +{re.escape(summary)}$", text, re.MULTILINE)


@pytest.mark.parametrize("command", NAMES)
def test_help_has_headings_and_ends_with_an_example(command, shown):
    text = shown(command, "--help")
    example = text.partition("\nExample:\n")[2].replace("\\\n", " ")
    assert " ".join(example.split()).startswith(f"{HERE} {command}")
    headings = re.findall(r"^(\S.*):$", text, re.MULTILINE)
    assert headings[-2:] == ["Help", "Example"]
    assert "Options" not in headings
    assert len(headings) == len(set(headings))
    if command == "export":
        assert [each for each in headings if each in ("Weights", "Precision", "Output")] == [
            "Weights",
            "Precision",
            "Output",
        ]


@pytest.mark.parametrize("command", NAMES)
def test_texts_of_options_stand_alone(command):
    texts = {option.name: option.help for option in options_of(command)}
    assert {name: text for name, text in texts.items() if LEANS.match(text)} == {}


@pytest.mark.parametrize(
    "text", ["How many of them.", "Of how many pictures are made.", "Of the ensemble; …", "At most 8"]
)
def test_a_text_that_leans_on_others_is_seen(text):
    assert LEANS.match(text)


def test_version(capsys):
    assert run_here(["--version"]) == 0
    assert capsys.readouterr().out == f"deepvit {deepvit.__version__}\n"


def test_the_installed_program_completes(tmp_path):
    """A shell completes what it finds by its name: deepvit, not a Python that is given cli.py."""
    program = tmp_path / "deepvit"
    program.write_text(f"#!{sys.executable}\nfrom deepvit.commands.start import main\nmain()\n")
    program.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "COMP_CWORD": "2", "COMP_WORDS": "deepvit export --che"}
    said = subprocess.run(
        [program], env=env | {"_DEEPVIT_COMPLETE": "complete_bash"}, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["--checkpoint", "--check-images"]
    assert (
        "--install-completion" in subprocess.run([program], env=env, capture_output=True, text=True, check=True).stdout
    )
    assert "--install-completion" not in run("--help").stdout
