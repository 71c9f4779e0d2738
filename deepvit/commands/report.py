"""`report`: one page for the person who has to decide."""

import datetime
import pathlib
from typing import Annotated

import deepvit
from deepvit.runtime.options import Help

from .terminal.console import NEXT, out
from .terminal.following import viewer
from .terminal.options import OUTPUT
from .terminal.outputs import check_outputs
from .terminal.progress import note, steps
from .terminal.spelling import spelled


def report(
    path: Annotated[
        pathlib.Path, Help("An artifact, or a folder of artifacts and results (--json).", is_argument=True)
    ],
    include: Annotated[
        tuple[pathlib.Path, ...],
        Help("Result of --json from elsewhere; can be given several times.", name="with", heading="Results"),
    ] = (),
    output: Annotated[
        pathlib.Path | None, Help("HTML file to write; PATH-report.html if not given.", heading=OUTPUT)
    ] = None,
    title: Annotated[str | None, Help("Title of the page; the models if not given.", heading=OUTPUT)] = None,
) -> None:
    """Write one HTML page of what was exported, how close, how accurate, how fast, and what was not measured."""
    folder = path.absolute()
    file = output or folder.with_name(f"{folder.name}-report.html")
    check_outputs(output=file, reads=include)
    with steps() as step:
        step(f"reading {path}")
        from deepvit.measure.report.collect import collect
        from deepvit.measure.report.page import counted, default_title, listed, render_report, write_report

        collected = collect(path, include)
        step(f"writing {file}")
        written = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC by deepvit {deepvit.__version__}"
        page = spelled(render_report(collected, title or default_title(collected, folder.name), written))
        write_report(file, page)
    for name, why in collected.broken:
        note(f"not shown: {name} {why}")
    if collected.others:
        note(f"not shown, no results for a report: {listed(collected.others)}")
    count = f"{counted(len(collected.artifacts), 'artifact')}, {counted(len(collected.results), 'result')}"
    out.print(f"wrote {file}, {len(page.encode()) / 1e3:.0f} kB: {count}")
    if (command := viewer(file)) is not None:
        out.print(f"{NEXT}{command}")
