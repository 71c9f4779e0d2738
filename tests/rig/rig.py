"""The rig: real TensorRT on a machine without a GPU, for the processes that a test starts."""

import dataclasses
import importlib.util
import os
import pathlib
import subprocess
import sys

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
