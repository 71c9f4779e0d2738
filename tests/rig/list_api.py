"""Prints the API of the module named on the command line as JSON: class → member → signature, or null where it has none."""

import importlib
import inspect
import json
import sys

if len(sys.argv) > 2 and sys.argv[2] == "rtx":
    from deepvit.runtime.artifact.manifest import Backend
    from deepvit.runtime.trt.library import load_library

    module = load_library(Backend.TENSORRT_RTX).trt
else:
    module = importlib.import_module(sys.argv[1])


def signatures(member):
    """The overloads of a method, as pybind11 writes them into its docstring."""
    lines = (getattr(member, "__doc__", None) or "").splitlines()
    found = [line.split(". ", 1)[-1] for line in lines if "(self: " in line.split(" -> ")[0]]
    return found or None


api = {}
for name, kind in inspect.getmembers(module, inspect.isclass):
    api[name] = {member: signatures(getattr(kind, member)) for member in dir(kind)}
api["module"] = dict.fromkeys(dir(module))
print(json.dumps({"version": module.__version__, "classes": api}))
