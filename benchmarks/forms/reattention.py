"""What TensorRT-RTX makes of every variant with fused re-attention: the gate, kernels, bytes; no GPU is needed.

A layer that computes nothing stands in for the plugin's: what the compiler says that it reads and writes is as seen as all
else. Weights are random and ranges stand in for calibrated ones. Usage: python -m benchmarks.forms.reattention [VARIANT …];
writes benchmarks/results/reattention-listing.json; exit code 1 where the gate does not pass, or where deepvit_32 in FP16
moves more than 180 MB an image.
"""

import argparse
import sys
from typing import Any

from benchmarks.common.interleaved import machine, write_result
from benchmarks.forms.gate import BATCH, CAPABILITY, FUSED, compile_and_judge
from deepvit.export.engine.listing.traffic import PLUGIN_LAYER
from deepvit.export.forms.typed import unproved_typed_graph
from deepvit.export.options import ExportOptions, GraphOptions, Reattention
from deepvit.metrics.result import rounded
from deepvit.model import VARIANTS
from deepvit.model.load import LoadedModel, load_model
from deepvit.runtime.artifact.manifest import Precision

PRECISIONS = (Precision.FP16, Precision.INT8, Precision.FP8)
MIXING = [name for name, row in VARIANTS.items() if row.architecture.reattention_blocks]
MOST_MB = {("deepvit_32", Precision.FP16): 180.0}  # an image


def row_of(loaded: LoadedModel, precision: Precision) -> dict[str, Any]:
    """Compile a variant with fused re-attention, hold it against the gate, and count what it moves."""
    options = ExportOptions(graph=GraphOptions(precision=precision, reattention=Reattention.FUSED))
    compiled = compile_and_judge(unproved_typed_graph(loaded, options), precision, FUSED)
    kernels = compiled.kernels
    fused = [kernel for kernel in kernels if kernel.kind == PLUGIN_LAYER]
    moved, own = (sum(kernel.bytes for kernel in group) / BATCH / 1e6 for group in (kernels, fused))
    return compiled.gate | {
        "kernels": len(kernels),
        "fused": len(fused),
        "mb_per_image": moved,
        "fused_mb_per_image": own,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help="all that mix their maps if none is given")
    chosen = parser.parse_args().variants
    table: dict[str, dict[str, Any]] = {}
    faults = 0
    for name in chosen or MIXING:
        loaded = load_model(name)
        for precision in PRECISIONS:
            row = rounded(row_of(loaded, precision))
            table.setdefault(name, {})[precision.value] = row
            faults += bool(row["breaches"]) or row["attributed"] != row["products"]
            faults += row["mb_per_image"] > MOST_MB.get((name, precision), float("inf"))
            print(f"{name:14s} {precision.value:5s} {row}", flush=True)
    if not chosen:
        content = {
            "command": "python -m benchmarks.forms.reattention",
            "batch": BATCH,
            "compute_capability": CAPABILITY,
            "machine": machine(),
            "variants": table,
        }
        write_result("reattention-listing", content)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
