"""TensorRT's own Python bindings on the shim, as the module `tensorrt`; RIG_SHIM_DIR names the compiled shim's folder."""

import ctypes
import os
import pathlib

for _library in sorted(pathlib.Path(os.environ["RIG_SHIM_DIR"]).glob("lib*.so.*")):
    ctypes.CDLL(str(_library), ctypes.RTLD_GLOBAL)  # the bindings then find it by its soname

from tensorrt_bindings import *  # noqa: F403
from tensorrt_bindings import __version__  # noqa: F401
