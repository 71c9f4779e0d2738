"""deepvit_32 on a CPU by `cli.py bench`, in one run: PyTorch, the plain export in ONNX Runtime and OpenVINO, and ours.

Weights are random; accuracy is another script's. Usage: python benchmarks/deepvit_cpu.py [VARIANT] [--rounds N]; writes
benchmarks/results/bench-VARIANT-cpu.json and .png.
"""

import argparse
import json
import pathlib
import shutil
import tempfile

from benchmarks.common.command_line import RESULTS, run_command
from benchmarks.common.interleaved import write_result

EXPORTS = {
    "fp32-onnx": ("--fp32", "--target", "onnx"),
    "fp32-cpu": ("--fp32", "--target", "cpu"),
    "bf16-cpu": ("--bf16", "--target", "cpu"),
    "int8-cpu": ("--int8", "--target", "cpu"),
}
PEERS = "pytorch,compile,plain-onnx,openvino,openvino-bf16,plain-int8,openvino-int8"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant", nargs="?", default="deepvit_32")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for output, options in EXPORTS.items():
            run_command("export", arguments.variant, *options, "--output", output, folder=folder)
        run_command(
            "bench", *EXPORTS, "--rounds", arguments.rounds, "--peers", PEERS, "--baseline", "plain ONNX export",
            "--json", "bench.json", "--plot", "bench.png", folder=folder,
        )  # fmt: skip
        kept = f"bench-{arguments.variant}-cpu"
        found = json.loads((folder / "bench.json").read_text())
        typed = f"python cli.py bench {found['command'].partition(' bench ')[2]}"  # without where it ran
        script = f"python benchmarks/deepvit_cpu.py {arguments.variant}"
        write_result(kept, found | {"command": typed, "script": script})
        shutil.copy(folder / "bench.png", RESULTS / f"{kept}.png")


if __name__ == "__main__":
    main()
