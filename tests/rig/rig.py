"""The rig: real TensorRT on a machine without a GPU, for the processes that a test starts."""

import dataclasses
import importlib.util
import json
import os
import pathlib
import subprocess
import sys

from tests.places import ROOT
from tests.rig.api_use import with_distinctive

HERE = pathlib.Path(__file__).parent
SONAMES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")


@dataclasses.dataclass(frozen=True)
class Rig:
    """Environment variables under which `import tensorrt` gives TensorRT's bindings; `folder` goes onto sys.path."""

    folder: pathlib.Path
    variables: dict[str, str]

    def environment(self) -> dict[str, str]:
        return os.environ | self.variables


def build_rig(folder: pathlib.Path, major: int = 11, bindings: pathlib.Path | None = None) -> Rig:
    """Compile the shim for the bindings of a TensorRT version; `bindings` is where they are if not installed."""
    compiler = os.environ.get("CC", "cc")
    for name in SONAMES:
        library = f"lib{name}.so.{major}"
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", HERE / "nvinfer_shim.c",
             f"-Wl,-soname,{library}", "-o", folder / library, "-ldl"],
            check=True,
        )  # fmt: skip
    found = importlib.util.find_spec("onnxruntime_ep_nv_tensorrt_rtx")
    assert found is not None, "onnxruntime-ep-nv-tensorrt-rtx-cu13 is not installed: run `make test`"
    paths = [str(HERE)] + ([str(bindings)] if bindings else [])
    variables = {
        "RIG_SHIM_DIR": str(folder),
        "RTX_LIBRARY_DIR": str(found.submodule_search_locations[0]),
        "PYTHONPATH": os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    return Rig(HERE, variables)


def older_bindings() -> pathlib.Path:
    """Return where `make test` puts the bindings of the oldest TensorRT that this project builds on."""
    folder = pathlib.Path(sys.prefix) / "tensorrt-10.12"
    assert (folder / "tensorrt_bindings").is_dir(), f"no bindings of TensorRT 10.12 in {folder}: run `make test`"
    return folder


def list_apis(folder: pathlib.Path) -> dict[str, dict]:
    """Return the APIs of the oldest TensorRT that this builds on, the newest, and TensorRT-RTX; see `list_api.py`.

    Each is listed in a process of its own; `folder` is for the shims.
    """
    older, newer = folder / "older", folder / "newer"
    older.mkdir()
    newer.mkdir()
    rigs = {"10.12": build_rig(older, 10, older_bindings()), "11.4": build_rig(newer)}
    listed = {}
    for name, rig, arguments in (
        ("10.12", rigs["10.12"], ["tensorrt"]),
        ("11.4", rigs["11.4"], ["tensorrt"]),
        ("rtx", rigs["11.4"], ["-", "rtx"]),
    ):
        environment = rig.environment()
        environment["PYTHONPATH"] += f":{ROOT}"
        command = [sys.executable, HERE / "list_api.py", *arguments]
        found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        listed[name] = with_distinctive(json.loads(found.stdout))
    assert (listed["10.12"]["version"], listed["11.4"]["version"]) == ("10.12.0.36", "11.4.0.106")
    return listed
