"""Our own models in a repository, each with the runtime that it imports."""

import pathlib
import shutil

RUNTIME = pathlib.Path(__file__).resolve().parents[2]
MODEL_PY = '''"""Triton model; its code is runtime/triton/serving/{model}.py."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))  # the runtime that was packaged, whatever else is installed

from runtime.triton.serving.{model} import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''


def write_python(version: pathlib.Path, model: str) -> None:
    """Write one of our models into its version folder, with the runtime that it imports."""
    (version / "model.py").write_text(MODEL_PY.format(model=model), encoding="utf-8")
    _copy_served(RUNTIME, version / "runtime")


def _copy_served(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copy a folder of the runtime, up to the first failure: shutil.copytree goes on, and then tells no errno."""
    target.mkdir()
    for path in filter(_is_served, source.iterdir()):
        if path.is_dir():
            _copy_served(path, target / path.name)
        else:
            shutil.copy2(path, target / path.name)


def _is_served(path: pathlib.Path) -> bool:
    """Whether a server needs it: not the C++ runtime, nor what writes repositories."""
    if path.parent == RUNTIME / "triton":
        return path.name in ("__init__.py", "serving")
    return path.name not in ("__pycache__", "cpp")
