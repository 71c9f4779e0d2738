"""faults.cpp, compiled and loaded before everything else, so that a trial can let the disk or the memory run out."""

import ctypes
import os
import pathlib
import subprocess
import sys

SOURCE = pathlib.Path(__file__).with_name("faults.cpp")


def start_again_with_faults(work: pathlib.Path) -> None:
    """Replace this process by itself with the library loaded, unless it is."""
    if hasattr(ctypes.CDLL(None), "torture_allow_bytes"):
        return
    library = work / "libfaults.so"
    command = ["c++", "-std=c++17", "-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-o", library, SOURCE, "-ldl"]
    subprocess.run(command, check=True)
    preloaded = " ".join(filter(None, (str(library.absolute()), os.environ.get("LD_PRELOAD"))))
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {"LD_PRELOAD": preloaded})


def allow_bytes(count: int) -> None:
    """Let this process write so many more bytes to files, then none: ENOSPC."""
    ctypes.CDLL(None).torture_allow_bytes(ctypes.c_long(count))


def allow_allocations(count: int) -> None:
    """Let `operator new` succeed so many times more, then fail once."""
    ctypes.CDLL(None).torture_allow_allocations(ctypes.c_long(count))
