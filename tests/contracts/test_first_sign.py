"""Every command says something before it loads what takes seconds to load; the tables of constants never load it."""

import json
import subprocess
import sys

import pytest

from deepvit.commands.app import COMMANDS
from tests.places import ROOT

HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "onnxscript",
    "onnx_ir",
    "onnx",
    "onnxruntime",
    "matplotlib",
    "jinja2",
    "scipy",
    "fsspec",
    "pyarrow",
)
FIRST = {  # command → what it is given; none of it is there, which comes out after the first sign
    "doctor": (),
    "export": ("digits_cnn",),
    "sensitivity": ("digits_cnn", "--imagenet", "none"),
    "build": ("none/model.onnx",),
    "inspect": ("none/model.onnx",),
    "compare": ("none/model.onnx",),
    "eval": ("none/model.onnx", "--imagenet", "none"),
    "classify": ("none/model.onnx", "--images", "none"),
    "bench": ("none/model.onnx",),
    "attention": ("none/model.onnx",),
    "report": ("none",),
    "package": ("none/model.onnx", "--triton", "none"),
}
OTHERS = {
    "a variant": ("eval", "digits_cnn", "--imagenet", "none"),
    "layers": ("compare", "none/model.onnx", "--layers"),
    "check": ("package", "--triton", "none", "--check"),
}
LIGHT = {"models": ("models",), "--help": ("--help",), "help of export": ("export", "--help")}
# Each in a process of its own, forked from one that has loaded what all commands load.
SCRIPT = """
import json, os, sys
import deepvit.commands.app as app

heavy, commands = json.loads(sys.argv[1]), json.loads(sys.argv[2])

class Tell:
    encoding, isatty = "utf-8", lambda self: False

    def __init__(self, pipe, at_once):
        self.pipe, self.at_once, self.text = pipe, at_once, ""

    def write(self, text):
        self.text += text
        if self.at_once and self.text.strip():
            self.tell()

    def flush(self): ...

    def tell(self):
        loaded = [name for name in heavy if name in sys.modules]
        os.write(self.pipe, json.dumps([self.text[:200], loaded]).encode())
        os._exit(0)

found = {}
for name, (arguments, at_once) in commands.items():
    ends, begins = os.pipe()
    if not os.fork():
        sys.stdout = sys.stderr = tell = Tell(begins, at_once)
        try:
            app.main(arguments)
        finally:
            tell.tell()
    os.close(begins)
    with open(ends) as stream:
        found[name] = json.load(stream)
    os.wait()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def signs(tmp_path_factory):
    """Command → the first that it says and what of `HEAVY` is loaded then; of `LIGHT`, when it ends."""
    commands = {name: ((name, *arguments), True) for name, arguments in FIRST.items()}
    commands |= {name: (arguments, True) for name, arguments in OTHERS.items()}
    commands |= {name: (arguments, False) for name, arguments in LIGHT.items()}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(HEAVY), json.dumps(commands)],
        cwd=tmp_path_factory.mktemp("empty"), env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return json.loads(run.stdout)


def test_every_command_is_among_them():
    assert {*FIRST, *LIGHT} >= {name for name, *_ in COMMANDS.values()}


@pytest.mark.parametrize("name", [*FIRST, *OTHERS])
def test_a_step_comes_before_what_is_heavy(signs, name):
    text, loaded = signs[name]
    assert text.startswith("· ")
    assert loaded == []


@pytest.mark.parametrize("name", LIGHT)
def test_tables_of_constants_load_nothing_heavy(signs, name):
    text, loaded = signs[name]
    assert len(text) == 200
    assert loaded == []
