"""A page's fenced blocks, and how the output that it shows is held against what came out.

The first word of a block's info string is its language; for `console` a second one says what of it can be done here.
"""

import dataclasses
import itertools
import pathlib
import re
from collections.abc import Iterator

CUT = "…"  # a line of its own: lines were left out
FENCE = re.compile(r"^```(.*)$")
MASKS = (  # what differs from run to run and from machine to machine → what stands for it
    (re.compile(r"\b[0-9a-f]{8,64}\b"), "0"),  # hashes
    (re.compile(r"\b(AMD|Intel)[^,)]*"), "CPU"),
    (re.compile(r"\d[\d,]*(\.\d+)*(e[+-]?\d+)?(\+cu\d+)?( [kMG]B\b)?"), "0"),
    (re.compile(r"\s+"), " "),  # tables are as wide as their figures
    (re.compile(r"[─━]+|-{3,}"), "-"),
)


class PageError(Exception):
    """A page that cannot be true: where, and why."""


@dataclasses.dataclass(frozen=True)
class Block:
    """One fenced block; `start` is the index of its first line within the page, its fence left out."""

    page: pathlib.Path
    start: int
    info: str
    lines: tuple[str, ...]

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.start + 1}"

    @property
    def language(self) -> str:
        return self.info.partition(" ")[0]

    @property
    def detail(self) -> str:
        return self.info.partition(" ")[2]


@dataclasses.dataclass(frozen=True)
class Command:
    """What follows a `$` in a console block, and the lines below it; `line` is an index within the page."""

    line: int
    text: str  # continued lines joined
    typed: tuple[str, ...]  # as the page has it
    shown: tuple[str, ...]


def blocks_of(page: pathlib.Path) -> list[Block]:
    """Return a page's fenced blocks; refuse one without an end, and code that is set off by spaces alone."""
    lines = page.read_text().splitlines()
    found, start = [], None
    for index, line in enumerate(lines):
        fence = FENCE.match(line)
        if fence and start is None:
            start, info = index + 1, fence[1].strip()
        elif fence:
            found.append(Block(page, start, info, tuple(lines[start:index])))
            start = None
        elif start is None and line.startswith("    ") and (index == 0 or not lines[index - 1].strip()):
            raise PageError(f"{page.name}:{index + 1}: code without a fence: nothing runs it")
    if start is not None:
        raise PageError(f"{page.name}:{start}: a block without an end")
    return found


def commands_of(block: Block) -> Iterator[Command]:
    """Yield a console block's commands with what the page shows below each."""
    lines = list(enumerate(block.lines, block.start))
    if not lines or not lines[0][1].startswith("$ "):
        raise PageError(f"{block.place}: expected a console block to begin with '$ '")
    while lines:
        typed = [lines.pop(0)]
        while typed[-1][1].endswith("\\"):
            typed.append(lines.pop(0))
        shown = list(itertools.takewhile(lambda line: not line[1].startswith("$ "), lines))
        del lines[: len(shown)]
        text = " ".join(line.removesuffix("\\").strip() for _, line in typed).removeprefix("$ ")
        yield Command(typed[0][0], text, tuple(line for _, line in typed), tuple(line for _, line in shown))


def masked(line: str) -> str:
    """Return a line without its figures, hashes and padding."""
    for pattern, stand_in in MASKS:
        line = pattern.sub(stand_in, line)
    return line.strip()


def _segments(shown: tuple[str, ...]) -> list[list[str]]:
    segments = [[]]
    for line in shown:
        if line.strip() == CUT:
            segments.append([])
        else:
            segments[-1].append(line)
    return segments


def _likest(segment: list[str], lines: list[str]) -> int:
    """Return where in `lines` most of a segment's lines stand as they are."""
    wanted = [masked(line) for line in segment]
    candidates = range(max(len(lines) - len(segment), 0) + 1)
    return max(candidates, key=lambda at: sum(a == masked(b) for a, b in zip(wanted, lines[at:], strict=False)))


def fitted(shown: tuple[str, ...], got: list[str]) -> list[str]:
    """Return what came out, cut where the page cuts what it shows."""
    first, *others = _segments(shown)
    if not others:
        return list(got)
    *middle, last = others
    fit, at = got[: len(first)], len(first)
    for segment in middle:
        at += _likest(segment, got[at:])
        fit += [CUT, *got[at : at + len(segment)]]
        at += len(segment)
    return [*fit, CUT, *(got[max(at, len(got) - len(last)) :] if last else [])]


def difference(shown: tuple[str, ...], got: list[str]) -> str | None:
    """Return in what the page's lines differ from what came out, figures aside, or None."""
    for line in shown:
        if CUT in line and line.strip() != CUT and not any(masked(line) == masked(each) for each in got):
            return f"'{CUT}' cuts whole lines only: {line}"
    for expected, actual in itertools.zip_longest(shown, fitted(shown, got)):
        if expected is None or actual is None or masked(expected) != masked(actual):
            return f"the page shows\n  {expected}\nand this came out\n  {actual}\nof\n" + "\n".join(got)
    return None
