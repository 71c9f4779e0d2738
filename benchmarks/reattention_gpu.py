"""Fused re-attention on the GPU here: is it right, how long it takes, and what was predicted, side by side.

python -m benchmarks.reattention_gpu                     writes benchmarks/results/reattention-NAME.json, as it goes on;
                                                         exits 1 where a check failed, 3 where there is no GPU
python -m benchmarks.reattention_gpu --predict [NAME]    writes the predictions for a GPU, here or not:
                                                         benchmarks/results/reattention-predictions.json
"""

import argparse
import pathlib
import sys

from benchmarks.gpu_check.__main__ import main as check
from benchmarks.gpu_check.reattention.prediction import text_of
from benchmarks.gpu_check.record import RESULTS, file_of
from deepvit.export.engine.listing.peaks import gpu_from_text
from deepvit.runtime.errors import InputError
from deepvit.runtime.trt.machine import this_machine

PREDICTIONS = RESULTS / "reattention-predictions.json"
SECTIONS = ("reattention", "reattention_torch")


def predict(name: str, output: pathlib.Path) -> int:
    """Write what is expected of a GPU."""
    try:
        text = text_of(gpu_from_text(name))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    output.write_text(text, encoding="utf-8")
    print(f"wrote {output}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--predict", nargs="?", const="H200", metavar="NAME", help="by its data sheet; H200 if none is named"
    )
    parser.add_argument("--minutes", type=float, default=9.0, help="after which nothing runs any more")
    parser.add_argument("--output", type=pathlib.Path, help="JSON file")
    options = parser.parse_args()
    if options.predict is not None:
        return predict(options.predict, options.output or PREDICTIONS)
    machine = this_machine()
    if machine.gpu is None:
        print(f"error: no NVIDIA GPU here ({machine.why_no_gpu})", file=sys.stderr)
        return 3
    usual = file_of(machine.gpu)
    output = options.output or usual.with_name(usual.name.replace("gpu-", "reattention-", 1))
    return check([*SECTIONS, "--minutes", f"{options.minutes:g}", "--output", str(output)])


if __name__ == "__main__":
    sys.exit(main())
