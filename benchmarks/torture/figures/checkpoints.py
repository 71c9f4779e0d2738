"""Figure 2: damaged and hostile checkpoints; none may hang, fill the memory or run code."""

import contextlib
import functools
import io
import json
import os
import pathlib
import pickle
import signal
import zipfile
from collections.abc import Callable

from deepvit.model.weights import pickled_child
from deepvit.model.weights.checkpoint import read_checkpoint
from deepvit.runtime.errors import InputError

from ..figure import Case, Figure, Trial
from ..mutants import damaged
from ..trial import Result, run_forked, run_in_turn
from .controls import fails_internally
from .hostile_pickles import PAYLOADS
from .material import tiny_checkpoints

REFUSED = frozenset({2})
READ_OR_REFUSED = frozenset({0, 2, 3})


def _mutant(name: str, spoil: Callable[..., bytes], read: Callable[[pathlib.Path], object], case: Case) -> Result:
    path = case.folder / name
    path.write_bytes(spoil((case.material / name).read_bytes(), case.random))
    run = run_forked if read is _read_as_the_child else run_in_turn  # the child has limits that it cannot take back
    ended = run(functools.partial(read, path), case.folder / "log")
    if ended.code == -signal.SIGXCPU:  # its limit, which whoever waits for it puts in words
        return Result("limit")
    return Result(ended.label, ended.fault(READ_OR_REFUSED))


def _read_as_the_child(path: pathlib.Path) -> None:
    """Read a pickle as the process does that is started for each, which takes seconds to load PyTorch first."""
    answer = io.StringIO()
    with path.open("rb") as stream, contextlib.redirect_stdout(answer):
        os.dup2(stream.fileno(), 0)
        pickled_child.main("prefer", str(os.memfd_create("tensors")))
    refused = json.loads(answer.getvalue()).get("refused")
    if refused is not None:
        raise InputError(refused)


def _spoil_zip(content: bytes, source: object) -> bytes:
    """Damage one member of a zip, whose checksums are right again; half of the time the pickle."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    pickled = next(name for name in members if name.endswith("data.pkl"))
    name = pickled if source.random() < 0.5 else source.choice(sorted(members))  # type: ignore[attr-defined]
    members[name] = damaged(members[name], source)  # type: ignore[arg-type]
    return _zipped(members)


def _zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def pth_mutant(case: Case) -> Result:
    """Half of the mutants are damaged files, half sound zip files with damaged members; one in fifty goes all the way."""
    read = read_checkpoint if case.index % 50 == 0 else _read_as_the_child
    return _mutant("tiny.pth", _spoil_zip if case.index % 2 else damaged, read, case)


def safetensors_mutant(case: Case) -> Result:
    return _mutant("tiny.safetensors", damaged, read_checkpoint, case)


def hostile_pickle(case: Case) -> Result:
    """A pickle that would make a file: as it is, and as the pickle of a zip."""
    canary = case.folder / "canary"
    name, payload = PAYLOADS[case.index // 2 % len(PAYLOADS)]
    content = payload(canary)
    path = case.folder / "hostile.pth"
    if case.index % 2:
        content = _zipped({"archive/data.pkl": content, "archive/version": b"3\n", "archive/byteorder": b"little"})
    path.write_bytes(content)
    ended = run_forked(functools.partial(read_checkpoint, path), case.folder / "log")
    if canary.exists():
        return Result("ran code", f"{name} ran its code")
    return Result(ended.label, ended.fault(REFUSED) and f"{name}: {ended.fault(REFUSED)}")


def code_that_runs_is_seen(case: Case) -> Result:
    """A control: the payloads do run where pickle itself reads them, most of them."""
    ran = 0
    for index, (_, payload) in enumerate(PAYLOADS):
        canary = case.folder / f"canary-{index}"
        run_forked(functools.partial(pickle.loads, payload(canary)), case.folder / "log", seconds=5)
        ran += canary.exists()
    return Result(f"{ran} of {len(PAYLOADS)} ran", f"{ran} ran" if ran >= len(PAYLOADS) // 2 else "")


def sound_checkpoints_are_read(case: Case) -> Result:
    """A control: what is not damaged is read, so that a trial that refuses everything would be seen."""
    for path in (case.material / "tiny.pth", case.material / "tiny.safetensors"):
        ended = run_forked(functools.partial(_read, path), case.folder / "log")
        assert ended.code == 0, ended
    return Result("sound", "as it must be")


def _read(path: pathlib.Path) -> None:
    assert read_checkpoint(path).state


CONTROLS: tuple[Trial, ...] = (fails_internally, sound_checkpoints_are_read)
FIGURES = (
    Figure(
        number="2 pth",
        name="damaged .pth files",
        count=5_000,
        trial=pth_mutant,
        controls=CONTROLS,
        prepare=tiny_checkpoints,
    ),
    Figure(
        number="2 safetensors",
        name="damaged safetensors files",
        count=5_000,
        trial=safetensors_mutant,
        controls=CONTROLS,
        prepare=tiny_checkpoints,
    ),
    Figure(
        number="2 pickles",
        name="pickles that would run code, raw and in a zip",
        count=2 * len(PAYLOADS),
        trial=hostile_pickle,
        controls=(code_that_runs_is_seen,),
    ),
)
