"""Where a page's blocks are run: a folder that looks like the checkout, with the digits, and with what README.md made.

Languages of blocks, and what is done with them:

| info string | |
|---|---|
| `console` | every `$` line is run; its output is what the page shows; it ends with 0, unless `$ echo $?` follows |
| `console cpp` | as `console`, where the C++ runtime has been built |
| `console gpu` | is run and refused for want of something here, exit 3; what a GPU would print is not shown |
| `console yours` | is run and refused for a path that is the reader's own, exit 2 |
| `console make` | `make -n` knows it |
| `console install` | names extras and packages of pyproject.toml |
| `console configure` | cmake's: its options are in runtime/cpp/CMakeLists.txt |
| `console served` | a client of a server: its script is there, tests/runtime/triton/test_served.py runs it |
| `console docker` | is a shell's; the files that it names are there |
| `python` | is run as a script, in a process of its own; a `text` block right below it is its output |
| `cpp`, `cmake`, `dockerfile` | an excerpt of a file below examples/ |
| `json FILE` | an excerpt of that file, as it is after the blocks above |
| `text` | the output of the `python` block above, or a drawing: anything |
"""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import textwrap

from tests.doubles.nursery import Nursery
from tests.places import ROOT

SECONDS = 240
OURS = {"python cli.py": "cli.py", "deepvit": "deepvit"}  # how a page calls our command line → what it is called by
CPP_BUILD = ROOT / "build" / "cpp" / "libdeepvit.so"
MADE = {"artifacts", "build", "data", "dist"}  # what is never the checkout's own


class Reader:
    """A terminal of a reader who has activated the environment, on a server without a screen; `cache` is theirs."""

    def __init__(self, cache: pathlib.Path) -> None:
        self.nursery = Nursery()
        path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
        theirs = {
            name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY", "COLUMNS")
        }
        self.environment = {**theirs, "PATH": path, "DEEPVIT_CACHE": str(cache)}


class Workshop:
    """One page's folder."""

    def __init__(self, folder: pathlib.Path, reader: Reader, digits: pathlib.Path, left: pathlib.Path | None) -> None:
        """Lay the folder out; `left` is the folder of the page whose artifacts this one begins with."""
        self.folder, self._reader = folder, reader
        folder.mkdir()
        for path in ROOT.iterdir():
            if path.name not in MADE and not path.name.startswith("."):
                (folder / path.name).symlink_to(path)
        (folder / "data").mkdir()
        (folder / "data" / "digits").symlink_to(digits)
        (folder / "build").mkdir()
        for name in ("cpp", "dependencies"):
            (folder / "build" / name).symlink_to(ROOT / "build" / name)
        if left is not None:
            shutil.copytree(left / "artifacts", folder / "artifacts")

    def run(self, command: str) -> tuple[int, list[str]]:
        """Run one command as a reader would; return its exit code and lines, those of its progress left out."""
        for typed, program in OURS.items():
            if command.startswith(f"{typed} ") and not set("|;&<>$") & set(command):
                argv = [program, *shlex.split(command.removeprefix(typed), comments=True)]
                output = self.folder / ".output"
                code = self._reader.nursery.run(argv, self.folder, self._reader.environment, output, output)
                return code, without_progress(output.read_text())
        return self._run(["bash", "-c", command])

    def run_python(self, source: str) -> tuple[int, list[str]]:
        """Run a script, which finds neither the checkout's tests nor what this process has loaded."""
        (self.folder / ".block.py").write_text(source)
        return self._run([sys.executable, ".block.py"])

    def _run(self, command: list[str]) -> tuple[int, list[str]]:
        path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(
            command, cwd=self.folder, env={**os.environ, "PATH": path}, text=True, timeout=SECONDS, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return done.returncode, without_progress(done.stdout)


def without_progress(said: str) -> list[str]:
    """The lines that stay on a terminal, where steps and shares of them are a bar that goes."""
    return [line.rstrip() for line in said.splitlines() if not re.match(r"· |.*: \d+ of \d+ \(\d+%\)", line)]


def is_excerpt(lines: tuple[str, ...]) -> bool:
    """Return whether lines stand in a file of examples/, one after the other, indented as they may be."""
    wanted = textwrap.dedent("\n".join(lines)).strip()
    for path in (*(ROOT / "examples").rglob("*"), *(ROOT / "runtime" / "cpp" / "examples").rglob("*")):
        if path.is_file() and path.suffix in (".cpp", ".c", ".txt", ".py", ".yaml", "") and wanted:
            have = path.read_text().splitlines()
            count = len(lines)
            for at in range(len(have) - count + 1):
                if textwrap.dedent("\n".join(have[at : at + count])).strip() == wanted:
                    return True
    return False
