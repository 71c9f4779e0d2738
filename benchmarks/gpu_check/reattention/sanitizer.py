"""NVIDIA's compute-sanitizer over every kernel: accesses out of bounds, races, memory read before it is written, barriers."""

import importlib.util
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from ..findings import Findings
from ..places import Place
from ..record import ROOT

PROGRAM = "compute-sanitizer"
WHEEL = "nvidia-cuda-sanitizer-api"
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
SECONDS, SHORTEST_S = 60.0, 15.0  # a tool, at most, and at least to begin it
FOUND = 99  # its exit code where it found something
UNSUPPORTED = "Device not supported"


def sanitizer_here() -> pathlib.Path | None:
    """Return the program, from PATH or from its wheel."""
    if (on_path := shutil.which(PROGRAM)) is not None:
        return pathlib.Path(on_path)
    package = importlib.util.find_spec("nvidia")
    folders = package.submodule_search_locations if package is not None else None
    found = (each for folder in folders or () for each in pathlib.Path(folder).glob(f"*/{PROGRAM}/{PROGRAM}"))
    return next(found, None)


def check_with_sanitizer(findings: Findings, place: Place, cubin: bytes) -> None:
    program = sanitizer_here()
    if place.is_fake or program is None:
        findings.skip(PROGRAM, "no GPU here" if place.is_fake else f"it is not here; pip install {WHEEL}")
        return
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        watched = [sys.executable, "-m", f"{__package__}.sanitized", file.name]
        for tool in TOOLS:
            if findings.has_time(f"{PROGRAM} {tool}", SHORTEST_S):
                _run(findings, tool, [str(program), "--tool", tool, "--error-exitcode", str(FOUND), *watched])


def _run(findings: Findings, tool: str, command: Sequence[str]) -> None:
    name = f"{PROGRAM} {tool}, every kernel"
    most = min(SECONDS, findings.seconds_left - SHORTEST_S / 3)
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=most, check=False)
    except subprocess.TimeoutExpired:
        findings.skip(name, f"not ended in {most:.0f} s")
        return
    said = done.stdout + done.stderr
    if UNSUPPORTED in said:
        findings.skip(name, UNSUPPORTED)
        return
    told = [line for line in said.splitlines() if line.strip("= ")]
    findings.note(name, "\n".join(told[-12:]))
    findings.equal(f"{name}: exit code", done.returncode, 0)
