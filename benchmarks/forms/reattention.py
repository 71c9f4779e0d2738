"""What TensorRT-RTX makes of every variant around fused re-attention, whose own bytes are counted; no GPU is needed.

TensorRT-RTX has no kernel for the operator, so the graph is cut at each of its nodes: qkv becomes an output, what the node
gives an input. What a node moves is counted by its definition: qkv, Θ' and b' read, its output written. Weights are random
and ranges stand in for calibrated ones. Usage: python -m benchmarks.forms.reattention [VARIANT …]; writes
benchmarks/results/reattention-listing.json; exit code 1 where deepvit_32 in FP16 moves more than 180 MB an image.
"""

import argparse
import sys
from typing import Any

from benchmarks.common.interleaved import machine, write_result
from benchmarks.forms.kernels import BATCH, CAPABILITY
from deepvit.export.engine.listing.around import COUNTED
from deepvit.export.engine.listing.compile import Graph, compile_kernels
from deepvit.export.forms.typed import unproved_typed_graph
from deepvit.export.graph.trace import to_bytes
from deepvit.export.options import ExportOptions, GraphOptions
from deepvit.metrics.result import rounded
from deepvit.model import VARIANTS
from deepvit.model.load import LoadedModel, load_model
from deepvit.runtime.manifest import Precision, ReattentionForm

PRECISIONS = (Precision.FP16, Precision.INT8, Precision.FP8)
MIXING = [name for name, row in VARIANTS.items() if row.architecture.reattention_blocks]
MOST_MB = {("deepvit_32", Precision.FP16): 180.0}  # an image


def row_of(loaded: LoadedModel, precision: Precision) -> dict[str, Any]:
    """Compile a variant around its fused re-attention, and count the rest."""
    graph = GraphOptions(precision=precision, reattention=ReattentionForm.FUSED)
    model = unproved_typed_graph(loaded, ExportOptions(graph=graph))
    content = Graph(content=to_bytes(model), fixed_batch=None, most=None)
    compiled = compile_kernels(content, BATCH, CAPABILITY, lambda _phase, _share: None)
    counted = [kernel for kernel in compiled.kernels if kernel.kind == COUNTED]
    moved, own = (sum(kernel.bytes for kernel in group) / BATCH / 1e6 for group in (compiled.kernels, counted))
    return {
        "kernels": len(compiled.kernels),
        "fused": len(counted),
        "mb_per_image": moved,
        "fused_mb_per_image": own,
        "tensorrt_rtx": compiled.version,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help="all that mix their maps if none is given")
    chosen = parser.parse_args().variants
    table: dict[str, dict[str, Any]] = {}
    is_over = False
    for name in chosen or MIXING:
        loaded = load_model(name)
        for precision in PRECISIONS:
            row = rounded(row_of(loaded, precision))
            table.setdefault(name, {})[precision.value] = row
            is_over |= row["mb_per_image"] > MOST_MB.get((name, precision), float("inf"))
            print(f"{name:14s} {precision.value:5s} {row}", flush=True)
    if not chosen:
        write_result(
            "reattention-listing",
            {
                "command": "python -m benchmarks.forms.reattention",
                "batch": BATCH,
                "compute_capability": CAPABILITY,
                "machine": machine(),
                "variants": table,
            },
        )
    return 1 if is_over else 0


if __name__ == "__main__":
    sys.exit(main())
