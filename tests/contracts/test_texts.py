"""The libraries name parameters and the program in their texts, only the commands spell them: no flag, no cli.py."""

import ast
import re

import pytest
import typer

from deepvit.commands.app import app
from deepvit.commands.terminal.spelling import NAMED
from tests.contracts.packages import LAYERS, folder_of, sources
from tests.places import ROOT

FOREIGN = {  # flags of other programs
    "nvidia-smi": {"--query-gpu", "--query-compute-apps", "--format"},
    "nvrtc": {"--gpu-architecture", "--std", "--ptxas-options"},
    "pip": {"--no-cache-dir", "--disable-pip-version-check", "--requirement"},
    "venv": {"--system-site-packages", "--without-pip"},
    "kubectl": {"--for", "--timeout"},
    "docker": {"--rm", "--gpus", "--shm-size", "--publish", "--env", "--volume"},
    "tritonserver": {
        "--model-repository", "--http-address", "--grpc-address", "--metrics-address", "--model-control-mode",
        "--disable-auto-complete-config", "--exit-on-error", "--strict-readiness", "--backend-config",
    },
}  # fmt: skip
SPELLED = re.compile(r"--[a-z][a-z0-9-]*|--{|cli\.py")
LIBRARIES = sorted(set(LAYERS) - {"commands"})


def texts(source):
    """Line and text of every string that is not a docstring; of an f-string every part, with {} for what follows."""
    tree = ast.parse(source)
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    docstrings = {id(body[0].value) for body in bodies if body and isinstance(body[0], ast.Expr)}
    joined = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value + ("{}" if id(node) in joined else "")


def breaches(source):
    """What of the command line the texts of a module spell."""
    foreign = set().union(*FOREIGN.values())
    return [
        f"{line}: {found}" for line, text in texts(source) for found in SPELLED.findall(text) if found not in foreign
    ]


@pytest.mark.parametrize("package", LIBRARIES)
def test_no_library_spells_the_command_line(package):
    files = sources(package)
    assert files
    found = {str(path.relative_to(folder_of(package))): breaches(path.read_text()) for path in files}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_every_name_is_an_option_or_the_program():
    """‹batchsize› would be spelled as a flag that no command has."""
    commands = typer.main.get_command(app).commands.values()
    flags = {flag for command in commands for parameter in command.params for flag in parameter.opts}
    names = {
        name: str(path.relative_to(ROOT))
        for package in LIBRARIES
        for path in sources(package)
        for _, text in texts(path.read_text())
        for name in NAMED.findall(text)
    }
    assert len(names) > 50
    strange = {name: path for name, path in names.items() if f"--{name.replace('_', '-')}" not in flags}
    assert strange.keys() == {"deepvit"}, strange


COMMAND = re.compile(r"‹deepvit› ([a-z]+)((?: (?!‹deepvit›)\S+)*)")


def test_commands_in_texts_are_commands_with_their_options():
    """What a message names to be run has to exist: ‹deepvit› export … ‹plot› does not."""
    commands = typer.main.get_command(app).commands
    found = [
        (name, flag, str(path.relative_to(ROOT)))
        for package in LIBRARIES
        for path in sources(package)
        for _, text in texts(path.read_text())
        for name, rest in COMMAND.findall(text)
        for flag in ["", *NAMED.findall(rest)]
    ]
    assert len({name for name, _, _ in found}) > 5
    strange = [
        (name, flag, path)
        for name, flag, path in found
        if name not in commands or (flag and f"--{flag.replace('_', '-')}" not in _flags(commands[name]))
    ]
    assert strange == []


def _flags(command):
    return {flag for parameter in command.params for flag in parameter.opts}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('raise InputError("give --batch 1")', ["1: --batch"]),
        ('raise InputError(f"a {b} --max-drop {c}")', ["1: --max-drop"]),
        ('option = f"--{kind}"', ["1: --{"]),
        ('x = 1\n\ny = "python cli.py build"', ["3: cli.py"]),
        ('"""Parse --batch."""\n\ndef f():\n    """As cli.py does."""\n', []),
        ('def f():\n    """A docstring."""\n    "--batch"\n', ["3: --batch"]),
        ('run(["nvidia-smi", f"--query-gpu={x}"])', []),
        ('raise InputError("give ‹batch› 1: ‹deepvit› build; a - b -- c")', []),
    ],
)
def test_a_planted_breach_is_seen(source, expected):
    assert breaches(source) == expected
