"""Figures 10 and 11: a disk that fills up in the middle, and a machine with too little memory."""

import functools
import pathlib
import resource
import subprocess
import sys

from tests.places import ROOT

from ..figure import Case, Figure
from ..preload import allow_bytes
from ..trial import DOCUMENTED, Ended, Result, run_forked
from .kills import OUTPUT, content_of, place_for, prepare, run_command

FULL, DONE = frozenset({3}), frozenset({0})
POINTS = 50  # of a command's writing, evenly spread, at which the disk is full
WRITING = ("export", "package", "report", "eval")
MEMORY_LEVELS_KIB = (6_000_000, 3_500_000, 2_500_000, 1_800_000, 1_200_000)
NEEDY = (
    ("models",),
    ("export", "digits_patch", "--pretrained", "--target", "onnx", "--output", "{folder}/a"),
    ("eval", "{material}/good-export", "--imagenet", "{material}/digits", "--limit", "40"),
    ("compare", "{material}/good-export", "--pretrained"),
)


def _on_a_filling_disk(command: str, material: pathlib.Path, output: pathlib.Path, room: int) -> None:
    allow_bytes(room)
    run_command(command, material, output)


def prepare_writing(material: pathlib.Path) -> None:
    """Prepare each command that writes, in a folder of its own, and find how many bytes it writes."""
    for command in WRITING:
        folder = material / command
        folder.mkdir()
        prepare(command, folder)
        (folder / "bytes").write_text(str(_bytes_written(command, folder)))


def _bytes_written(command: str, material: pathlib.Path) -> int:
    """Return with how much room the command ends well, to a fiftieth; found by halving."""
    low, high = 0, 1 << 28
    while high - low > high // POINTS:
        room = (low + high) // 2
        place = material / "search" / OUTPUT
        place.parent.mkdir()
        ended = run_forked(functools.partial(_on_a_filling_disk, command, material, place, room), material / "log", 120)
        low, high = (low, room) if ended.code == 0 else (room, high)
        subprocess.run(["rm", "-rf", place.parent], check=True)
    return high


def full_disk(case: Case) -> Result:
    """What was there stays, the refusal is exit 3 and says that there is no room; with room, the same command ends well."""
    command = WRITING[case.index % len(WRITING)]
    material = case.material / command
    own = Case(case.index, case.random, case.folder, material)
    place = place_for(command, own)
    before, expected = content_of(place), content_of(material / OUTPUT)
    room = int((material / "bytes").read_text()) * (case.index // len(WRITING) % POINTS) // POINTS
    ended = run_forked(functools.partial(_on_a_filling_disk, command, material, place, room), case.folder / "log", 120)
    now = content_of(place)
    if command == "eval" and ended.code == 0:  # what it keeps for later is no part of the result
        return Result("eval exit 0", "" if now.keys() == expected.keys() else "no result, and exit 0")
    fault = ended.fault(FULL) or _fault_in(ended, before, now)
    return Result(f"{command} {ended.label}", fault and f"{command} with room for {room} bytes: {fault}")


def _fault_in(ended: Ended, before: dict[str, bytes], now: dict[str, bytes]) -> str:
    if now != before:
        return f"what was there is another: {sorted(before.keys() ^ now.keys())}"
    return "" if "room" in ended.stderr or "space" in ended.stderr else f"not told why: {ended.stderr[-300:]}"


def half_a_file_is_seen(case: Case) -> Result:
    """A control: what writes in place leaves half a file, and that is told."""
    path = case.folder / f"{OUTPUT}.json"
    path.write_text('{"old": 1}')
    before = content_of(case.folder / OUTPUT)
    ended = run_forked(functools.partial(_write_in_place, path), case.folder / "log")
    path.write_text('{"new": 1}')
    return Result(ended.label, ended.fault(FULL) or _fault_in(ended, before, content_of(case.folder / OUTPUT)))


def _write_in_place(path: pathlib.Path) -> None:
    allow_bytes(100)
    path.write_bytes(bytes(1000))


def little_memory(case: Case) -> Result:
    """Exit 3 and a line that says what was wanting, or it was enough."""
    level = MEMORY_LEVELS_KIB[case.index % len(MEMORY_LEVELS_KIB)]
    command = NEEDY[case.index // len(MEMORY_LEVELS_KIB) % len(NEEDY)]
    arguments = [part.format(material=case.material, folder=case.folder) for part in command]
    ended = _limited([sys.executable, str(ROOT / "cli.py"), *arguments], level)
    return Result(ended.label, ended.fault(DONE | FULL) and f"{command[0]} at {level} KiB: {ended.fault(DONE | FULL)}")


def _limited(command: list[str], kibibytes: int) -> Ended:
    run = subprocess.run(
        command,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (kibibytes << 10, kibibytes << 10)),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=ROOT,
    )
    return Ended(run.returncode, run.stderr, 0.0, 0)


def an_internal_error_is_seen(_: Case) -> Result:
    """A control: a process that dies of its memory error, as Python does, is told."""
    ended = _limited([sys.executable, "-c", "bytearray(1 << 33)"], 1_000_000)
    return Result(ended.label, ended.fault(DOCUMENTED - {1}))


def prepare_memory(material: pathlib.Path) -> None:
    prepare("export", material)


FIGURES = (
    Figure(
        number="10",
        name="a disk that is full at fifty points of what a command writes",
        count=POINTS * len(WRITING),
        trial=full_disk,
        controls=(half_a_file_is_seen,),
        prepare=prepare_writing,
    ),
    Figure(
        number="11",
        name="five limits of memory",
        count=len(MEMORY_LEVELS_KIB) * len(NEEDY),
        trial=little_memory,
        controls=(an_internal_error_is_seen,),
        prepare=prepare_memory,
    ),
)
