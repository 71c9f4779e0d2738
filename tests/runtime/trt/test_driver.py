"""Whether cuda-python is there, asked where there is none."""

import ast
import importlib
import sys

from deepvit.runtime.trt.driver import has_cuda_python
from tests.places import ROOT, files_of_the_tree


def _dotted_lookups(source):
    """Calls of find_spec with a dotted name: it imports the package, and raises where there is none."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("find_spec")
        and any(isinstance(a, ast.Constant) and "." in str(a.value) for a in node.args)
    ]


def test_it_is_missing_where_there_is_no_package_cuda(tmp_path, monkeypatch):
    assert has_cuda_python()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for name in [name for name in sys.modules if name.partition(".")[0] == "cuda"]:
        monkeypatch.delitem(sys.modules, name)
    importlib.invalidate_caches()
    assert not has_cuda_python()


def test_nobody_else_asks_for_a_module_within_a_package():
    sources = [path for name in files_of_the_tree() if (path := ROOT / name).suffix == ".py"]
    found = {path.relative_to(ROOT).as_posix(): _dotted_lookups(path.read_text(encoding="utf-8")) for path in sources}
    assert {name: calls for name, calls in found.items() if calls} == {
        "runtime/trt/driver.py": ["importlib.util.find_spec('cuda.bindings')"]
    }
    assert _dotted_lookups("find_spec('cuda')") == []
