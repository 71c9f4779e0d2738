"""Folders and functions stay within their bounds; the tests mirror the tree. `python -m tests.contracts.house` shows all."""

import pathlib
import re

import pytest

from tests.contracts import house
from tests.contracts.house import Function
from tests.places import ROOT, files_of_the_tree

NOT_A_MIRROR = {"contracts", "doubles", "rig"}  # what holds of the whole tree, and what tests share


@pytest.fixture(scope="module")
def functions():
    return house.our_functions()


def test_folders():
    assert house.full_folders(house.entries_by_folder(files_of_the_tree())) == set()


def test_exceptions_are_of_folders_that_are_there():
    assert house.WIDER.keys() | house.DATA.keys() <= house.entries_by_folder(files_of_the_tree()).keys()


@pytest.mark.parametrize(
    ("folder", "entries", "is_full"),
    [
        ("deepvit/model", 13, False),
        ("deepvit/model", 14, True),
        ("deepvit/commands", 16, False),
        ("deepvit/commands", 17, True),
        ("deepvit/images/photographs", 100, False),
    ],
)
def test_a_planted_full_folder_is_seen(folder, entries, is_full):
    names = ["__init__.py", ".hidden", *(f"{number}.py" for number in range(entries - 1)), "below/a.py", "below/b.py"]
    counted = house.entries_by_folder(pathlib.PurePosixPath(folder, name) for name in names)
    assert counted[folder] == entries
    assert counted["."] == 1
    assert house.full_folders(counted) == ({folder} if is_full else set())


def test_functions(functions):
    assert len(functions) > 500
    assert house.long_functions(functions) == set()
    assert house.wide_functions(functions) == set()
    assert house.lines_of_nine_in_ten(functions) <= house.LINES_OF_NINE_IN_TEN


def planted(*, lines, parameters):
    """A method, within a function, of so many lines and of so many parameters besides self."""
    names = ", ".join(["self", "a", "/", *(f"b{number}" for number in range(parameters - 4)), "*c", "d", "**e"])
    body = "\n".join(["            pass"] * (lines - 1))
    return f"def f():\n    class C:\n        @property\n        def g({names}):\n{body}\n"


@pytest.mark.parametrize(("lines", "parameters"), [(60, 8), (61, 8), (60, 9)])
def test_a_planted_function_is_seen(lines, parameters):
    _outer, inner = house.functions_of(planted(lines=lines, parameters=parameters), "export/a.py")
    assert inner == Function("export/a.py:f.C.g", lines, parameters)
    assert house.long_functions([inner]) == ({inner.name} if lines > 60 else set())
    assert house.wide_functions([inner]) == ({inner.name} if parameters > 8 else set())


def test_nine_in_ten():
    lines = [24] * 9 + [60]
    assert house.lines_of_nine_in_ten([Function("f", count, 0) for count in lines]) == 24
    assert house.lines_of_nine_in_ten([Function("f", count, 0) for count in [*lines[1:], 60]]) == 60


def test_the_tables_are_printed(capsys, functions):
    lines = list(house.report())
    assert any(line.endswith("deepvit/images/photographs (two crops of every photograph)") for line in lines)
    marked = {line.split()[-1] for line in lines if line.startswith("!") and "parameters" in line}
    assert marked == set()


def astray(files):
    """Folders of tests that are about no package, and packages right below deepvit without tests."""
    tests = {path.parent.relative_to("tests") for path in files if path.parts[0] == "tests" and path.match("test_*.py")}
    abouts = {package_of(folder) for folder in tests if not NOT_A_MIRROR & set(folder.parts[:1])}
    inits = [path for path in files if path.name == "__init__.py" and path.parts[0] != "tests"]
    # One has no code of its own; the other's tests are among the contracts.
    packages = {str(path.parent) for path in inits} - {"deepvit", "benchmarks"}
    tops = {package for package in packages if "/" not in package.removeprefix("deepvit/")}
    return abouts - packages | tops - abouts


def package_of(folder):
    """The package that a folder of tests is about."""
    return str(folder if folder.parts[:1] in (("calibration",), ("export",), ("runtime",)) else "deepvit" / folder)


def test_the_tests_mirror_the_tree():
    files = files_of_the_tree()
    assert astray(files) == set()
    planted = ["tests/test_a.py", "tests/models/test_a.py", "tests/runtime/tensorrt/test_a.py", "deepvit/b/__init__.py"]
    found = astray([*files, *map(pathlib.PurePosixPath, planted)])
    assert found == {"deepvit", "deepvit/models", "runtime/tensorrt", "deepvit/b"}


IMPORTS_A_TEST = re.compile(r"^\s*(from|import) tests\.\S*\btest_|^\s*from tests\.\S* import .*\btest_", re.MULTILINE)


def test_no_test_imports_another():
    assert IMPORTS_A_TEST.search("    from tests.runtime.trt.test_plan import HERE\n")
    assert IMPORTS_A_TEST.search("from tests.runtime.trt import test_plan")
    sources = [path for path in files_of_the_tree() if path.parts[0] == "tests" and path.suffix == ".py"]
    assert [str(path) for path in sources if IMPORTS_A_TEST.search((ROOT / path).read_text())] == []
