"""The table of guards fits the tree, and a guard that no test notices is told."""

import ast
import dataclasses
import pathlib

import pytest

from tests.contracts.guards.negative_control import CTEST, Copy, Guard, guards
from tests.places import ROOT

EXAMPLE = Guard(
    fault="F0",
    file="deepvit/metrics/distance.py",
    guard="if noise == 0:",
    without="if noise == -1:",
    test="tests/metrics/test_distance.py::test_sqnr_of_sums_of_squares",
)


def _names(path: pathlib.Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}


@pytest.mark.parametrize("guard", guards(), ids=lambda guard: f"{guard.fault}-{pathlib.Path(guard.file).stem}")
def test_a_guard_and_its_test_exist(guard):
    spoiled = guard.taken_out_of((ROOT / guard.file).read_text(encoding="utf-8"))
    if guard.is_cpp:
        name, folder = guard.test.removeprefix(CTEST), ROOT / "runtime/cpp/tests"
        assert any(folder.rglob(f"test_{name}.cpp")) or f"NAME {name}" in (folder / "CMakeLists.txt").read_text()
        return
    if guard.file.endswith(".py"):
        ast.parse(spoiled)
    file, *names = guard.test.partition("[")[0].split("::")
    assert set(names) <= _names(ROOT / file), guard.test


def test_a_guard_is_found_exactly_once():
    with pytest.raises(AssertionError, match="has this guard 0 times"):
        EXAMPLE.taken_out_of("")
    with pytest.raises(AssertionError, match="has this guard 2 times"):
        EXAMPLE.taken_out_of(2 * EXAMPLE.guard)


def test_taking_out_a_guard_is_noticed_and_taking_out_nothing_is_not(tmp_path):
    copy = Copy(tmp_path)
    assert copy.verdict_without(EXAMPLE).is_red
    same = dataclasses.replace(EXAMPLE, without=EXAMPLE.guard)
    assert not copy.verdict_without(same).is_red
