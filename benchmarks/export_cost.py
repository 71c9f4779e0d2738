"""What exports cost: seconds and peak memory, of float exports and of calibrations on few and many images.

Weights are random. Usage: python benchmarks/export_cost.py DATASET, where DATASET has 512 training images or more; writes
benchmarks/results/export_cost.json.
"""

import argparse
import pathlib
import tempfile

from benchmarks.common.command_line import run_command
from benchmarks.common.interleaved import machine, write_result

EXPORTS = (
    ("deepvit_32", "--fp16"),
    ("deepvit_32", "--int8", "--calibration-images", "64"),
    ("deepvit_32", "--int8", "--calibration-images", "512"),
    ("deepvit_l_384", "--fp16"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=pathlib.Path)
    dataset = parser.parse_args().dataset.resolve()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "digits").symlink_to(dataset)
        for index, (variant, *options) in enumerate(EXPORTS):
            data = ("--imagenet", "digits") if "--int8" in options else ()
            command = ("export", variant, *options, *data, "--output", f"{index}")
            seconds, peak = run_command(*command, folder=folder)
            rows.append({"command": f"python cli.py {' '.join(command[:-2])}", "seconds": seconds, "peak_bytes": peak})
            print(f"{rows[-1]['command']}: {seconds:.1f} s, {peak / 1e9:.2f} GB")
    content = {
        "command": "python benchmarks/export_cost.py DATASET",
        "weights": "random",
        "machine": machine(),
        "rows": rows,
    }
    write_result("export_cost", content)


if __name__ == "__main__":
    main()
