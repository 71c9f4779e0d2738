"""How the house is kept, in numbers: entries of folders, lines and parameters of functions; `-m` prints the tables.

An entry of a folder is a file, link or folder directly in it that is tracked, or new and not ignored. `__init__.py`,
which says only that the folder is a package, and names that begin with a dot are not counted. A function's lines run
from its `def` to its last line, its decorators left out; a nested function counts by itself too. Of its parameters,
*args and **kwargs count one each, self and cls none.
"""

import ast
import collections
import dataclasses
import math
import pathlib
from collections.abc import Iterable, Iterator

from tests.places import ROOT, files_of_the_tree

CODE = ("calibration", "deepvit", "export", "runtime")
ENTRIES = 13
WIDER = {  # folder → how many entries it may have
    ".": 17,  # six of them stand where convention looks for them: README, LICENSE, CHANGELOG, CONTRIBUTING, SECURITY, docs
    "deepvit/commands": 16,  # a file a command: the folder is what --help lists
    "docs": 15,  # a page a topic
    "tests": 14,  # as deepvit, and what tests share
    "tests/commands": 16,  # as deepvit/commands
    "runtime/cpp/tests": 16,  # a file a suite, and what they are built with
}
DATA = {  # folders of data → why they grow
    "benchmarks/results": "a file a benchmark, and a GPU",
    "docs/schemas": "a file a kind of result",
    "deepvit/images/photographs": "two crops of every photograph",
}
LINES, LINES_OF_NINE_IN_TEN, PARAMETERS = 60, 24, 8


@dataclasses.dataclass(frozen=True)
class Function:
    """A function of our code; `name` is its file's path and its qualified name in it."""

    name: str
    lines: int
    parameters: int


def entries_by_folder(files: Iterable[pathlib.PurePosixPath]) -> dict[str, int]:
    """Return how many entries every folder has, by its path; "." is the root."""
    entries = collections.defaultdict(set)
    for file in files:
        for path in (file, *file.parents[:-1]):
            if path.name != "__init__.py" and not path.name.startswith("."):
                entries[str(path.parent)].add(path.name)
    return {folder: len(names) for folder, names in sorted(entries.items())}


def full_folders(entries: dict[str, int]) -> set[str]:
    """Return the folders that have more entries than they may."""
    return {each for each, count in entries.items() if each not in DATA and count > WIDER.get(each, ENTRIES)}


def functions_of(source: str, path: str) -> Iterator[Function]:
    """Yield every function of a module, methods and nested ones too."""
    yield from _functions_below(ast.parse(source), f"{path}:", is_class=False)


def _functions_below(node: ast.AST, prefix: str, *, is_class: bool) -> Iterator[Function]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _functions_below(child, prefix, is_class=is_class)
            continue
        name = f"{prefix}{child.name}"
        if not isinstance(child, ast.ClassDef):
            yield Function(name, _lines(child), _parameters(child, is_method=is_class))
        yield from _functions_below(child, f"{name}.", is_class=isinstance(child, ast.ClassDef))


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef, *, is_method: bool) -> int:
    each = function.args
    positional = [*each.posonlyargs, *each.args]
    if is_method and positional and positional[0].arg in ("self", "cls"):
        positional = positional[1:]
    return len([*positional, *each.kwonlyargs, *filter(None, (each.vararg, each.kwarg))])


def our_functions() -> list[Function]:
    """Return every function of CODE."""
    files = [path for path in files_of_the_tree() if path.parts[0] in CODE and path.suffix == ".py"]
    return [each for path in files for each in functions_of((ROOT / path).read_text(), str(path))]


def long_functions(functions: Iterable[Function]) -> set[str]:
    return {each.name for each in functions if each.lines > LINES}


def wide_functions(functions: Iterable[Function]) -> set[str]:
    return {each.name for each in functions if each.parameters > PARAMETERS}


def lines_of_nine_in_ten(functions: list[Function]) -> int:
    """Return the lines that nine of ten functions do not exceed."""
    return sorted(each.lines for each in functions)[math.ceil(0.9 * len(functions)) - 1]


def report() -> Iterator[str]:
    """Yield the tables: folders, the fullest first, and the functions outside their bounds."""
    yield f"folders, their entries (at most {ENTRIES}, or as said):"
    entries = entries_by_folder(files_of_the_tree())
    full = full_folders(entries)
    for folder, count in sorted(entries.items(), key=lambda item: (-item[1], item[0])):
        allowed = f"at most {WIDER[folder]}" if folder in WIDER else DATA.get(folder, "")
        yield f"{'!' if folder in full else ' '} {count:3} {folder}{f' ({allowed})' if allowed else ''}"
    functions = our_functions()
    nine = lines_of_nine_in_ten(functions)
    yield f"{len(functions)} functions, nine of ten of at most {nine} lines (at most {LINES_OF_NINE_IN_TEN});"
    yield f"those of more than {LINES} lines or {PARAMETERS} parameters:"
    far = long_functions(functions) | wide_functions(functions)
    for each in sorted(functions, key=lambda one: -one.lines):
        if each.name in far:
            yield f"! {each.lines:3} lines {each.parameters:3} parameters {each.name}"


if __name__ == "__main__":
    print("\n".join(report()))
