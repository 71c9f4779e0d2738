"""What the scripts share that measure our own command line: how it is called, in a folder of its own."""

import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"


def run_command(*arguments: object, folder: pathlib.Path) -> tuple[float, int]:
    """Run one command of ours in `folder`, its errors shown; return its seconds and its peak memory in bytes."""
    start = time.perf_counter()
    command = [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status != 0:
        raise SystemExit(f"{' '.join(command[2:])} ended with {os.waitstatus_to_exitcode(status)}")
    return seconds, usage.ru_maxrss << 10
