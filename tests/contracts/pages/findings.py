"""Runs a page's blocks in their order, and tells what each makes of what the page shows."""

import dataclasses
import itertools
import json
import pathlib
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator

from tests.contracts.pages.blocks import Block, Command, PageError, blocks_of, commands_of, difference, fitted
from tests.contracts.pages.workshop import CPP_BUILD, Workshop, is_excerpt
from tests.places import ROOT

EXCERPTS = ("cmake", "cpp", "dockerfile")
OTHERS = ("CONTRIBUTING.md", "SECURITY.md", "runtime/cpp/README.md")
MISSING, WRONG = 3, 2  # exit codes


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one command or block came to: `lines` are what the page should show from `start` up to `end`."""

    place: str
    start: int
    end: int
    lines: list[str]
    fault: str | None


def pages() -> list[pathlib.Path]:
    """Return the pages, README.md first: the others begin with what it made."""
    others = [*ROOT.glob("docs/*.md"), *(ROOT / name for name in OTHERS)]
    return [ROOT / "README.md", *sorted(others)]


def findings_of(page: pathlib.Path, workshop: Workshop) -> Iterator[Finding]:
    """Run a page; yield what every block of it came to.

    Raises:
        PageError: A block that nothing here runs.
    """
    said: list[str] | None = None  # by the Python block right above
    for block in blocks_of(page):
        above, said = said, None
        if block.info == "python":
            said = yield from _python(block, workshop)
        elif block.info == "text":
            yield _shown(block, above if above is not None else list(block.lines))
        elif block.language == "json" and block.detail:
            yield _json(block, workshop)
        elif block.language in EXCERPTS:
            yield _verdict(block, None if is_excerpt(block.lines) else "no such lines in a file of examples/")
        elif block.info in CONSOLES:
            yield from CONSOLES[block.info](block, workshop)
        else:
            raise PageError(
                f"{block.place}: nothing runs a block of {block.info!r}; see tests/contracts/pages/workshop.py"
            )


def _verdict(block: Block, fault: str | None) -> Finding:
    return Finding(block.place, block.start, block.start, [], fault)


def _shown(block: Block, got: list[str]) -> Finding:
    end = block.start + len(block.lines)
    return Finding(block.place, block.start, end, fitted(block.lines, got), difference(block.lines, got))


def _python(block: Block, workshop: Workshop) -> Iterator[Finding]:
    code, said = workshop.run_python("\n".join(block.lines) + "\n")
    yield _verdict(block, None if code == 0 else "\n".join(said))
    return said


def _json(block: Block, workshop: Workshop) -> Finding:
    content = json.loads((workshop.folder / block.detail).read_text())
    return _shown(block, json.dumps(content, indent=2, ensure_ascii=False).splitlines())


def _console(block: Block, workshop: Workshop) -> Iterator[Finding]:
    commands = list(commands_of(block))
    code = 0
    for command, following in zip(commands, [*commands[1:], None], strict=True):
        if command.text == "echo $?":
            got = [str(code)]
            fault = None if [*command.shown] == got else f"the exit code is {code}"
            yield _found(block, command, got, fault)
            continue
        code, got = workshop.run(command.text)
        fault = difference(command.shown, got)
        lines = fitted(command.shown, got)
        if code != 0 and (following is None or following.text != "echo $?"):
            fault, lines = f"exit code {code}: " + "\n".join(got), [*command.shown]  # not to be written into the page
        yield _found(block, command, lines, fault)


def _found(block: Block, command: Command, lines: list[str], fault: str | None) -> Finding:
    start = command.line + len(command.typed)
    place = f"{block.page.name}:{command.line + 1}: $ {command.text}"
    return Finding(place, start, start + len(command.shown), lines, fault)


def _cpp(block: Block, workshop: Workshop) -> Iterator[Finding]:
    if CPP_BUILD.is_file():
        yield from _console(block, workshop)


def _judged(fault_of):
    """Return a runner of blocks that show no output: `fault_of(command, workshop)` is None where a command is right."""

    def run(block: Block, workshop: Workshop) -> Iterator[Finding]:
        for command in commands_of(block):
            fault = "shows an output that did not come out here" if command.shown else fault_of(command.text, workshop)
            yield _found(block, command, list(command.shown), fault)

    return run


def _refused_for_want(command: str, workshop: Workshop) -> str | None:
    code, said = workshop.run(command)
    return None if code == MISSING else f"exit code {code}, expected {MISSING}: " + "\n".join(said)


def _refused_for_a_path(command: str, workshop: Workshop) -> str | None:
    absent = [word for word in shlex.split(command)[2:] if not word.startswith("-") and _is_absent(word, workshop)]
    code, said = workshop.run(command)
    named = any(word in line for line in said if line.startswith("error: ") for word in absent)
    return None if code == WRONG and named else f"exit code {code}, expected {WRONG} for one of {absent}: {said}"


def _is_absent(word: str, workshop: Workshop) -> bool:
    return bool(re.search(r"[/.]", word)) and not (workshop.folder / word).exists()


def _known_to_make(command: str, _workshop: Workshop) -> str | None:
    program, *targets = shlex.split(command, comments=True)
    if program != "make":
        return "no make"
    done = subprocess.run(["make", "-n", *targets], cwd=ROOT, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stderr


def _known_to_pip(command: str, _workshop: Workshop) -> str | None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    required = [*project["dependencies"], *(each for extra in extras.values() for each in extra)]
    packages = {re.split(r"[\[<>=; ~]", each)[0] for each in required} - {project["name"]}
    words = shlex.split(command, comments=True)
    if words[:4] == ["python", "-m", "venv", ".venv"] or words[0] in ("source", "git", "cd", "pipx", "."):
        return None
    if words[:1] != ["pip"] and words[:3] != ["python", "-m", "pip"]:
        return "neither pip nor a virtual environment"
    for word in words[words.index("install") + 1 :]:
        wanted = re.fullmatch(r"\.(?:\[(.*)\])?", word)
        if wanted:
            if strange := {each for each in (wanted[1] or "").split(",") if each} - extras.keys():
                return f"no such extras: {strange}"
        elif not word.startswith("-") and not (ROOT / word).is_file() and word not in packages:
            return f"{word} is no package of pyproject.toml"
    return None


def _known_to_cmake(command: str, _workshop: Workshop) -> str | None:
    """Every -D of ours is an option of CMakeLists.txt, and every script is there."""
    options = re.findall(r"-D(DEEPVIT_[A-Z_]+)=", command)
    known = set(
        re.findall(r"^(?:set|option)\((DEEPVIT_[A-Z_]+)", (ROOT / "runtime/cpp/CMakeLists.txt").read_text(), re.M)
    )
    program = shlex.split(command)[0]
    if program != "cmake" and not (ROOT / program).is_file():
        return f"{program} is neither cmake nor a file"
    return None if set(options) <= known else f"no such options: {set(options) - known}"


def _known_script(command: str, _workshop: Workshop) -> str | None:
    script = shlex.split(command)[1]
    return None if (ROOT / script).is_file() else f"no such file: {script}"


def _known_to_a_shell(command: str, _workshop: Workshop) -> str | None:
    done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, check=False)
    if done.returncode != 0 or not command.startswith("docker "):
        return done.stderr or "no docker"
    words = shlex.split(command)
    files = [after for word, after in itertools.pairwise(words) if word in ("-f", "--file")]
    absent = [name for name in files if not (ROOT / name).is_file()]
    return f"no such file: {absent}" if absent else None


CONSOLES = {
    "console": _console,
    "console cpp": _cpp,
    "console gpu": _judged(_refused_for_want),
    "console yours": _judged(_refused_for_a_path),
    "console make": _judged(_known_to_make),
    "console install": _judged(_known_to_pip),
    "console configure": _judged(_known_to_cmake),
    "console served": _judged(_known_script),
    "console docker": _judged(_known_to_a_shell),
}


def rewritten(page: pathlib.Path, findings: list[Finding]) -> str:
    """Return the page's text with what came out in place of what it shows."""
    lines = page.read_text().splitlines()
    for finding in sorted(findings, key=lambda each: each.start, reverse=True):
        lines[finding.start : finding.end] = finding.lines
    return "\n".join(lines) + "\n"
