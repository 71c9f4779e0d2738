"""The figures at the top of the page: each is of all models together, and says of which it is."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .overview import Cell, Row


@dataclasses.dataclass(frozen=True)
class Tile:
    """One figure."""

    what: str
    value: str
    note: str = ""
    tone: str = ""


def tiles(rows: Sequence[Row]) -> Iterator[Tile]:
    """Yield what holds of all models: how many pass, and the worst or best of each figure, with its model."""
    by_tone = {tone: [row.name for row in rows if _tone(row) == tone] for tone in ("good", "partly", "bad")}
    judged = sum(map(len, by_tone.values()))
    if judged:
        failed, partly = by_tone["bad"], by_tone["partly"]
        note, tone = "all that was compared", "good"
        if failed:
            note, tone = f"not: {', '.join(failed)}", "bad"
        elif partly:
            note, tone = f"{len(partly)} more in part", ""
        yield Tile("hold", f"{len(by_tone['good'])} of {judged}", note, tone)
    for column, superlative, what, choose in (
        ("top-1", "lowest", "top-1", min),
        ("agreement", "lowest", "agreement", min),
        ("SQNR", "lowest", "SQNR of the logits", min),
        ("size", "smallest", "file", min),
        ("throughput", "highest", "throughput", max),
    ):
        found = [(row, row.cells[column]) for row in rows if column in row.cells and row.cells[column].group]
        if found:
            yield _extreme(found, superlative, what, choose)


def _tone(row: Row) -> str:
    return row.cells["verdict"].tone if "verdict" in row.cells else ""


def _extreme(found: list[tuple[Row, Cell]], superlative: str, what: str, choose: Callable[..., Any]) -> Tile:
    row, cell = choose(found, key=lambda each: each[1].value)
    if len(found) > 1 and all(each.text == cell.text for _, each in found):
        return Tile(what, cell.text, f"of all {len(found)} models")
    random = ", random weights" if row.has_random_weights else ""
    note = f"{row.name}{f', {cell.note}' if cell.note else ''}{random}"
    return Tile(f"{superlative} {what}" if len(found) > 1 else what, cell.text, note)
