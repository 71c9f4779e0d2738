"""Bars on a terminal; apart from what uses them, so that --help need not load them."""

import rich.console
import rich.progress
import rich.text


class _Rate(rich.progress.ProgressColumn):
    """How many of them a second."""

    def render(self, task: rich.progress.Task) -> rich.text.Text:
        speed = task.finished_speed or task.speed
        return rich.text.Text("" if speed is None else f"{speed:.1f}/s")


def counting_bar(what: str, console: rich.console.Console) -> rich.progress.Progress:
    """Return a bar of how many are done, how fast, and how long the rest will take."""
    columns = (
        rich.progress.TextColumn(what),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        _Rate(),
        rich.progress.TimeRemainingColumn(),
        rich.progress.TextColumn("left"),
    )
    return rich.progress.Progress(*columns, console=console, transient=True)


def phase_bar(what: str, console: rich.console.Console) -> rich.progress.Progress:
    """Return a bar of the share that is done and of the task's `phase`."""
    columns = (
        rich.progress.TextColumn(what),
        rich.progress.BarColumn(),
        rich.progress.TaskProgressColumn(),
        rich.progress.TimeElapsedColumn(),
        rich.progress.TextColumn("{task.fields[phase]}"),
    )
    return rich.progress.Progress(*columns, console=console, transient=True)
