"""Who may import whom, read from the syntax tree: imports run one way, and the runtime imports nothing of ours."""

import ast
import graphlib

import pytest

from tests.contracts.packages import LAYERS, module_of, sources
from tests.places import ROOT


def imported_modules(source, module, *, is_package=False):
    """Full names of what a module's source imports, inside functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".") if is_package else module.split(".")[:-1]
            base = parts[: len(parts) - node.level + 1] if node.level else []
            yield ".".join([*base, *([node.module] if node.module else [])])
            if node.module is None or node.module == "deepvit":
                yield from (".".join([*base, *([node.module] if node.module else []), a.name]) for a in node.names)


def circle(files):
    """Modules that import one another in a circle, the first again at the end; none where there is no circle.

    Args:
        files: Module → its source.
    """
    imports = {
        module: {*imported_modules(source, module)} & files.keys() - {module} for module, source in files.items()
    }
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def breaches(package, source, module, *, is_package=False):
    """What a module imports of ours that its package may not, and what it imports by a name that is not installed."""
    for name in imported_modules(source, module, is_package=is_package):
        top, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if top in LAYERS:
            yield f"{module} imports {name}, which is deepvit.{name} where it is installed"
        elif top == "deepvit" and target in LAYERS and target != package and target not in LAYERS[package]:
            yield f"{module} imports {name}"


@pytest.mark.parametrize("package", LAYERS)
def test_imports_run_one_way(package):
    files = sources(package)
    assert files
    found = [
        breach
        for path in files
        for breach in breaches(
            package, path.read_text(), module_of(path, package), is_package=path.name == "__init__.py"
        )
    ]
    assert found == []


def test_the_runtime_can_be_copied_anywhere():
    """All that it imports of itself is relative, as a Triton model and `import runtime` from a checkout need it."""
    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources("runtime")
        for name in imported_modules(path.read_text(), module_of(path, "runtime").replace("deepvit.", "copied."))
        if name.split(".")[0] in ("deepvit", *LAYERS)
    ]
    assert found == []


def two_ways(files):
    """Pairs of neighbours, each a folder or a file, of which each imports something of the other.

    Args:
        files: Module → its source. A name imported from a folder counts as imported from there.
    """
    ways = set()
    for module, source in files.items():
        for name in imported_modules(source, module):
            here, there = module.split("."), name.split(".")
            apart = next((at for at, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), None)
            if apart is not None:
                ways.add((".".join(here[: apart + 1]), ".".join(there[: apart + 1])))
    return {pair for pair in ways if pair < pair[::-1] and pair[::-1] in ways}


@pytest.fixture(scope="module")
def files():
    """Module → its source, of all packages; not those that only hand names on."""
    paths = ((module_of(path, package), path) for package in LAYERS for path in sources(package))
    return {module: path.read_text() for module, path in paths if path.name != "__init__.py"}


def test_no_files_import_one_another(files):
    assert circle(files) == []


def test_no_folders_import_one_another(files):
    assert two_ways(files) == set()


def test_folders_that_import_one_another_are_seen():
    graph, fuse = "deepvit.export.graph.cast", "deepvit.export.reattention.fuse"
    planted = {graph: "from ..reattention.operator import DOMAIN", fuse: "def f():\n    from ..graph import onnx_file"}
    assert two_ways(planted) == {("deepvit.export.graph", "deepvit.export.reattention")}
    assert two_ways({graph: planted[graph], fuse: "from .operator import nodes"}) == set()


def test_a_planted_circle_is_seen():
    """Also one that a type alone ties, or an import inside a function."""
    run = "if TYPE_CHECKING:\n    from .session import Session"
    session = "def submit():\n    from deepvit.runtime.run import Run"
    assert len(circle({"deepvit.runtime.run": run, "deepvit.runtime.session": session})) == 3
    assert circle({"deepvit.runtime.run": "import numpy", "deepvit.runtime.session": session}) == []


@pytest.mark.parametrize(
    "source",
    [
        "from deepvit.export.options import Precision",
        "import deepvit.export.options",
        "from deepvit import export",
        "from ...export import options",
        "def f():\n    from ..export.options import Precision",
        "from export.options import Precision",
    ],
)
def test_a_planted_breach_is_seen(source):
    depth = {"from ...": "deepvit.metrics.a.b", "    from ..": "deepvit.metrics.a"}
    module = next((name for start, name in depth.items() if start in source), "deepvit.metrics.a")
    assert len(set(breaches("metrics", source, module))) == 1
    assert list(breaches("commands", source, module)) == [] or "not" in source or source.startswith("from export")


def test_packages_are_all_there_is():
    """Every package of the checkout is in the table above."""
    here = {path.parent.name for path in (ROOT / "deepvit").glob("*/__init__.py")}
    assert here == set(LAYERS)
