"""Figures 7 to 9: commands killed and interrupted at any moment, into a place that holds something good."""

import functools
import json
import os
import pathlib
import shutil
import signal
import sys
import time

from deepvit.commands.app import main
from deepvit.commands.terminal.signals import listen
from deepvit.runtime import open_artifact
from examples.digits.make_dataset import write_dataset

from ..figure import Case, Figure, Trial
from ..trial import MORE_BYTES, Ended, Result, run_forked, start_forked, timeless

DONE, KILLED = frozenset({0}), frozenset({0, -signal.SIGKILL})
OUTPUT = "output"
DATASET = "digits"
CHECKED_IN = 10  # one trial of so many runs the command again, to its end, and compares
EXPORT_FP16 = ("export", "digits_patch", "--fp16", "--pretrained", "--target", "onnx", "--parity-images", "4")
COMMANDS: dict[str, tuple[str, ...]] = {  # what is killed; {material} has the digits and artifacts, {output} is the place
    "export": (*EXPORT_FP16, "--output", "{output}"),
    "int8": (
        *("export", "digits_patch", "--int8", "--pretrained", "--target", "onnx", "--parity-images", "4"),
        *("--imagenet", "{material}/digits", "--calibration-images", "32", "--check-images", "64", "--output", "{output}"),
    ),
    "build": ("build", "{output}", "--target", "tensorrt-rtx", "--compute-capability", "8.9"),
    "package": ("package", "{material}/good-export", "--triton", "{output}"),
    "report": ("report", "{material}/good-export", "--output", "{output}.html"),
    "eval": (
        *("eval", "{material}/good-export", "--imagenet", "{material}/digits", "--limit", "200", "--batch-size", "8"),
        *("--workers", "0", "--cache-crops", "--resume", "--json", "{output}.json"),
    ),
}  # fmt: skip


def arguments_of(command: str, material: pathlib.Path, output: pathlib.Path) -> list[str]:
    return [part.format(material=material, output=output) for part in COMMANDS[command]]


def run_command(command: str, material: pathlib.Path, output: pathlib.Path) -> None:
    os.environ["DEEPVIT_CACHE"] = str(output.parent / "cache")
    (output.parent / "cache").mkdir(mode=0o700, exist_ok=True)
    main(arguments_of(command, material, output))


def prepare(command: str, material: pathlib.Path) -> None:
    """Make the digits, a good artifact, and what the command makes when nothing disturbs it, with its time."""
    write_dataset(material / DATASET)
    good = material / "good-export"
    assert run_forked(functools.partial(run_command, "export", material, good), material / "log").code == 0
    if command == "int8":
        _prepare_int8(material)
    if command == "build":
        shutil.copytree(good, material / OUTPUT)
    ended = run_forked(functools.partial(run_command, command, material, material / OUTPUT), material / "log", 300)
    assert ended.code == 0, ended
    (material / "seconds").write_text(str(ended.seconds))


def _prepare_int8(material: pathlib.Path) -> None:
    """Make an artifact that one in INT8 may replace, of other ranges: nothing replaces one of another precision."""
    arguments = arguments_of("int8", material, material / "good-int8")
    arguments[arguments.index("--calibration-images") + 1] = "16"
    assert run_forked(functools.partial(main, arguments), material / "log", 300).code == 0


def content_of(place: pathlib.Path) -> dict[str, bytes]:
    """Return what lies at `place`, a file or a folder, by name; times of a run left out."""
    files = [path for path in (place.with_name(place.name + end) for end in (".html", ".json")) if path.is_file()]
    if place.is_dir():
        files += [path for path in sorted(place.rglob("*")) if path.is_file()]
    return {str(path.relative_to(place.parent)): _without_times(path) for path in files}


def _without_times(path: pathlib.Path) -> bytes:
    content = path.read_bytes()
    if path.name.endswith(f"{OUTPUT}.json"):
        return json.dumps(timeless(json.loads(content))).encode()
    return content


def place_for(command: str, case: Case) -> pathlib.Path:
    """Put something good at the place that the command will write to."""
    place = case.folder / OUTPUT
    if command in ("export", "int8", "build"):
        shutil.copytree(case.material / ("good-int8" if command == "int8" else "good-export"), place)
    elif command == "package":
        shutil.copytree(case.material / OUTPUT, place)
    elif command == "report":
        place.with_suffix(".html").write_text("the last report")
    return place


def _run_listening(command: str, material: pathlib.Path, output: pathlib.Path, ready: int) -> None:
    """Run a command that says when it hears signals: `deepvit.commands.start` does before it loads anything."""
    listen()
    os.close(ready)
    run_command(command, material, output)


def _disturbed(command: str, case: Case, place: pathlib.Path, sent: signal.Signals) -> Ended:
    seconds = float((case.material / "seconds").read_text())
    log = case.folder / "log"
    reader, ready = os.pipe()
    process = start_forked(functools.partial(_run_listening, command, case.material, place, ready), log, MORE_BYTES)
    os.close(ready)
    with os.fdopen(reader, "rb") as stream:
        stream.read()  # ends when the process listens, or is gone
    process.ends_within(case.random.uniform(0.0, 1.05) * seconds)
    process.send(sent)
    return process.wait(60)


def killed(command: str, case: Case) -> Result:
    """What was there is there still, or what was to come is, whole; the next run ends as if there had been no kill."""
    place = place_for(command, case)
    before, expected = content_of(place), content_of(case.material / OUTPUT)
    ended = _disturbed(command, case, place, signal.SIGKILL)
    fault = _fault_of(command, place, before, expected)
    if not fault and case.index % CHECKED_IN == 0:
        again = run_forked(functools.partial(run_command, command, case.material, place), case.folder / "log", 300)
        fault = again.fault(DONE) or _fault_after(place, expected, case.folder)
    return Result(ended.label, fault or ended.fault(KILLED))


def _fault_of(command: str, place: pathlib.Path, before: dict[str, bytes], expected: dict[str, bytes]) -> str:
    now = content_of(place)
    if now not in (before, expected) and not (command == "report" and now.keys() == expected.keys()):
        names = sorted(name for name in now.keys() | expected.keys() if now.get(name) != expected.get(name))
        return f"neither what was there nor what was to come: {names[:5]}"
    if command in ("export", "int8", "build"):
        artifact = open_artifact(place)
        for name in artifact.manifest.files:
            artifact.read(name)
    return ""


def _fault_after(place: pathlib.Path, expected: dict[str, bytes], folder: pathlib.Path) -> str:
    if content_of(place).keys() != expected.keys():
        return "the next run makes something else"
    left = [path.name for path in folder.iterdir() if path.name.startswith(f".{OUTPUT}")]
    return f"left behind: {left}" if left else ""


def interrupted(case: Case) -> Result:
    """Ctrl-C or SIGTERM at any moment: its exit code and one line, or the command was done; nothing staged is left."""
    command = sorted(COMMANDS)[case.index // 2 % len(COMMANDS)]
    sent, code = ((signal.SIGINT, 130), (signal.SIGTERM, 143))[case.index % 2]
    place = place_for(command, case)
    ended = _disturbed(command, case, place, sent)
    fault = ended.fault(frozenset({0, code}))
    left = [path.name for path in case.folder.iterdir() if path.name.startswith(f".{OUTPUT}")]
    return Result(f"{command} {ended.label}", fault or (f"left behind: {left}" if left else ""))


def written_in_place_is_seen(case: Case) -> Result:
    """A control: a command that writes its folder in place, file by file, is killed between two files."""
    place = case.folder / OUTPUT
    shutil.copytree(case.material / "good-export", place)
    before, expected = content_of(place), content_of(case.material / OUTPUT)
    (place / "model.onnx").write_bytes(b"half")
    return Result("written in place", _fault_of("package", place, before, expected))


def _ignore_signals() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    time.sleep(60)


def deaf_is_seen(case: Case) -> Result:
    """A control: what takes no notice of Ctrl-C is told."""
    process = start_forked(_ignore_signals, case.folder / "log")
    process.ends_within(0.2)
    process.send(signal.SIGINT)
    ended = process.wait(1)
    return Result(ended.label, ended.fault(frozenset({130})))


def _raise_where_interrupted() -> None:
    print("Traceback (most recent call last):", file=sys.stderr)
    sys.exit(130)


def a_traceback_is_seen(case: Case) -> Result:
    """A control: an interruption with the right code but a traceback is told."""
    ended = run_forked(_raise_where_interrupted, case.folder / "log")
    return Result(ended.label, ended.fault(frozenset({130})))


def _figure(command: str) -> Figure:
    trial: Trial = functools.partial(killed, command)
    return Figure(
        number=f"7 {command}",
        name=f"{command}, killed (-9) at any moment" + (", and resumed" if command == "eval" else ""),
        count=200,
        trial=trial,
        controls=(written_in_place_is_seen,),
        prepare=functools.partial(prepare, command),
    )


def prepare_all(material: pathlib.Path) -> None:
    """Prepare for every command, whose longest time counts."""
    prepare("export", material)
    shutil.rmtree(material / OUTPUT)
    _prepare_int8(material)
    prepare("package", material)
    (material / "seconds").write_text("3")


FIGURES = (
    *(_figure(command) for command in COMMANDS),
    Figure(
        number="9",
        name="Ctrl-C and SIGTERM at any moment",
        count=60,
        trial=interrupted,
        controls=(deaf_is_seen, a_traceback_is_seen),
        prepare=prepare_all,
    ),
)
