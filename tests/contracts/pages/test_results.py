"""docs/results.md: the figures of its tables are in the files that it names, and every section says what made it."""

import json
import re

import pytest

from tests.places import ROOT

PAGE = ROOT / "docs" / "results.md"
FILE = re.compile(r"benchmarks/results/[\w-]+\.json")
FIGURE = re.compile(r"\d+(?:\.\d+)?")
SCALES = (1, 100)  # shares are shown as percent


def sections(text):
    """Title → text of every section."""
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def numbers_in(content):
    if isinstance(content, dict | list):
        for each in content.values() if isinstance(content, dict) else content:
            yield from numbers_in(each)
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield content


def strange_figures(section):
    """Figures of the section's tables that no file which it names has, rounded as they are shown."""
    files = [json.loads((ROOT / name).read_text()) for name in FILE.findall(section)]
    measured = [scale * number for number in numbers_in(files) for scale in SCALES]
    strange = []
    for line in section.splitlines():
        if line.startswith("| ") and not line.startswith("| |"):
            for figure in FIGURE.findall(line.split("|", 2)[2]):
                decimals = len(figure.partition(".")[2])
                if not any(f"{number:.{decimals}f}" == figure for number in measured):
                    strange.append(figure)
    return strange


@pytest.mark.parametrize(("title", "section"), sections(PAGE.read_text()).items())
def test_a_section_names_its_files_and_its_command(title, section):
    names = FILE.findall(section)
    assert names, title
    for name in names:
        assert (ROOT / name).is_file()
        assert json.loads((ROOT / name).read_text())
    assert re.search(r"`(python|make) \S+", section), title


@pytest.mark.parametrize("title", ["Speed on a CPU"])
def test_tables_hold_what_was_measured(title):
    section = sections(PAGE.read_text())[title]
    figures = [figure for line in section.splitlines() if line.startswith("| ") for figure in FIGURE.findall(line)]
    assert len(figures) > 50
    assert strange_figures(section) == []


def test_a_planted_figure_is_seen():
    section = sections(PAGE.read_text())["Speed on a CPU"]
    assert strange_figures(section.replace("1588 ms", "1589 ms")) == ["1589"]
