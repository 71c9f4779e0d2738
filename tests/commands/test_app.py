"""The command line as a whole: the help of every command, and the table of variants."""

import pytest

import deepvit.commands.app
from tests.commands.command_line import HERE, run, run_here


def test_models():
    listed = run("models")
    assert listed.returncode == 0
    for name in ("deepvit_l_384", "84.25", "deepvit_patch16_224_re_attn_32b"):
        assert name in listed.stdout


@pytest.mark.parametrize("command", [name for name, _example in deepvit.commands.app.COMMANDS.values()])
def test_help_ends_with_an_example(command, capsys):
    assert run_here([command, "--help"]) == 0
    assert f"Example: {HERE} {command}" in capsys.readouterr().out
