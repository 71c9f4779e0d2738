"""deepvit_32 on a CPU: PyTorch, torch.compile, the plain ONNX export, ours in FP32 and INT8, by `cli.py bench`, in one run.

Weights are random; accuracy is another script's. Usage: python benchmarks/deepvit_cpu.py [VARIANT] [--rounds N]; writes
benchmarks/results/bench-VARIANT-cpu.json and .png.
"""

import argparse
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from benchmarks.command_line import RESULTS, run_command

EXPORTS = {
    "fp32-onnx": ("--fp32", "--target", "onnx"),
    "fp32-cpu": ("--fp32", "--target", "cpu"),
    "int8-cpu": ("--int8", "--target", "cpu"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant", nargs="?", default="deepvit_32")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for output, options in EXPORTS.items():
            run_command("export", arguments.variant, *options, "--output", output, folder=folder)
        result = RESULTS / f"bench-{arguments.variant}-cpu"
        run_command(
            "bench", *EXPORTS, "--rounds", arguments.rounds, "--baseline", "plain ONNX export",
            "--json", f"{result}.json", "--plot", f"{result}.png", folder=folder,
        )  # fmt: skip
    print(f"wrote {result.relative_to(RESULTS.parent.parent)}.json")


if __name__ == "__main__":
    main()
