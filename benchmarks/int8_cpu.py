"""Throughput of INT8 in ONNX Runtime on a CPU: `--int8 --target cpu` against float32 artifacts, in one run.

Weights are random; accuracy is another script's. Usage: python benchmarks/int8_cpu.py [VARIANT] [--rounds N]; writes
benchmarks/results/.
"""

import argparse
import functools
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.interleaved import interleave, machine, print_rows, write_result
from runtime.session import open_session

BATCHES = (1, 8)
EXPORTS = {
    "--fp32 --target cpu": ("--fp32", "--target", "cpu"),
    "--fp32 --target onnx": ("--fp32", "--target", "onnx"),
    "--int8 --target cpu": ("--int8", "--target", "cpu"),
}
BASELINE = "--fp32 --target cpu"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant", nargs="?", default="deepvit_32")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sessions = {}
        for index, (name, options) in enumerate(EXPORTS.items()):
            artifact = pathlib.Path(folder) / str(index)
            command = [sys.executable, ROOT / "cli.py", "export", arguments.variant, *options, "--output", artifact]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            sessions[name] = open_session(artifact)
        shape = sessions[BASELINE].input.shape[1:]
        results = {}
        for batch in BATCHES:
            images = np.random.default_rng(0).standard_normal((batch, *shape), np.float32)
            runs = {name: functools.partial(session.run, images) for name, session in sessions.items()}
            results[str(batch)] = interleave(runs, BASELINE, batch, arguments.rounds * (4 if batch == 1 else 1))
    for batch, rows in results.items():
        print(f"\n{arguments.variant}, random weights, batch {batch}")
        print_rows(rows)
    content = {
        "command": f"python benchmarks/int8_cpu.py {arguments.variant} --rounds {arguments.rounds}",
        "variant": arguments.variant,
        "weights": "random",
        "machine": machine(),
        "batch": results,
    }
    write_result(f"int8_cpu-{arguments.variant}", content)


if __name__ == "__main__":
    main()
