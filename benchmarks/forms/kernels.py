"""What TensorRT-RTX makes of every variant in every precision: whether the gate passes, kernels, bytes; no GPU is needed.

Weights are random and ranges stand in for calibrated ones: neither has a say in what is compiled. Usage:
python -m benchmarks.forms.kernels [VARIANT …]; writes benchmarks/results/kernels.json, in which other variants than those
that are named stay as they are, and docs/kernels.md from it. A row whose gate does not pass, or whose GEMMs the engine
does not all name, ends it with exit code 1.
"""

import argparse
import functools
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import onnx

from benchmarks.common.command_line import RESULTS
from benchmarks.common.interleaved import machine, write_result
from benchmarks.forms.gate import BATCH, CAPABILITY, compile_and_judge
from benchmarks.forms.kernels_page import PAGE, page_of
from deepvit.calibration.options import QuantizationOptions
from deepvit.export.engine.listing.listed import LISTED, Listed
from deepvit.export.forms.typed import unproved_typed_graph
from deepvit.export.options import ExportOptions, GraphOptions, Target
from deepvit.metrics.result import rounded
from deepvit.model import VARIANTS
from deepvit.model.load import load_model
from deepvit.runtime.artifact.manifest import InputForm, Precision

PRECISIONS = {f"--{precision.value}": {"precision": precision} for precision in Precision}
BEFORE = {  # how graphs were written before their tokens were padded
    f"--{precision.value} --no-pad-tokens": {"precision": precision, "pad_tokens": False}
    for precision in (Precision.FP16, Precision.INT8, Precision.FP8)
}
SMALL = {  # on the small models alone
    "--fp8 --quantize-attention": {"precision": Precision.FP8, "attention": True},
    "--int8 --weight-only": {"precision": Precision.INT8, "weight_only": True},
    "--fp8 --weight-only": {"precision": Precision.FP8, "weight_only": True},
    "--fp16 --input uint8": {"precision": Precision.FP16, "input_form": InputForm.UINT8},
}
QUANTIZATION = ("attention", "weight_only")


def forms_of(variant: str) -> dict[str, dict[str, Any]]:
    """Return what `export` is told → the options, for the forms of a variant that are compiled."""
    row = VARIANTS[variant].architecture
    before = BEFORE if row.reattention_blocks and VARIANTS[variant].is_published else {}
    return PRECISIONS | before | ({} if VARIANTS[variant].is_published else SMALL)


def typed_onnx(variant: str, form: dict[str, Any]) -> onnx.ModelProto:
    """Return a variant's graph in one form."""
    graph = {name: value for name, value in form.items() if name not in QUANTIZATION}
    quantization = {name: value for name, value in form.items() if name in QUANTIZATION}
    options = ExportOptions(
        graph=GraphOptions(target=Target.TENSORRT_RTX, **graph), quantization=QuantizationOptions(**quantization)
    )
    return unproved_typed_graph(load_once(variant), options)


load_once = functools.lru_cache(maxsize=1)(load_model)


def row_of(variant: str, form: dict[str, Any]) -> dict[str, Any]:
    """Compile one form for one batch size, hold it against the gate, and count what it moves."""
    model = typed_onnx(variant, form)
    start = time.perf_counter()
    compiled = compile_and_judge(model, form["precision"])
    seconds = time.perf_counter() - start
    kernels = compiled.kernels
    copies = [kernel for kernel in kernels if kernel.is_aligning_copy]
    return compiled.gate | {
        "rows_of_tokens": _rows(model),
        "kernels": len(kernels),
        "mb_per_image": sum(kernel.bytes for kernel in kernels) / BATCH / 1e6,
        "aligning_copies": len(copies),
        "copies_mb_per_image": sum(kernel.bytes for kernel in copies) / BATCH / 1e6,
        "plan_mb": len(compiled.build.plan) / 1e6,
        "seconds": seconds,
    }


def _rows(model: onnx.ModelProto) -> int:
    (tokens,) = {
        v.type.tensor_type.shape.dim[1].dim_value for v in model.graph.value_info if v.name == "blocks.0/Add.out"
    } or {0}
    return int(tokens)


def rows_of(variants: list[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (variant, form, row) of everything that is compiled."""
    for variant in variants:
        for name, form in forms_of(variant).items():
            yield variant, name, row_of(variant, form)


def listed_of(table: dict[str, dict[str, Any]]) -> Listed:
    """Return what the package keeps of a table."""
    one = next(iter(table.values()))["--fp16"]
    return Listed(
        tensorrt_rtx=one["tensorrt_rtx"],
        compute_capability=CAPABILITY,
        batch=BATCH,
        mb_per_image={
            variant: {precision: forms[f"--{precision.value}"]["mb_per_image"] for precision in Precision}
            for variant, forms in table.items()
        },
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help="all if none is given")
    chosen = parser.parse_args().variants or list(VARIANTS)
    table: dict[str, dict[str, Any]] = {}
    faults = 0
    for variant, form, row in rows_of(chosen):
        table.setdefault(variant, {})[form] = rounded(row)
        faults += bool(row["breaches"]) or row["attributed"] != row["products"]
        print(
            f"{variant:14s} {form:28s} {row['kernels']:4d} kernels {row['mb_per_image']:8.1f} MB",
            row["breaches"][:2],
            flush=True,
        )
    before = json.loads((RESULTS / "kernels.json").read_text())["variants"]
    table = {variant: (before | table)[variant] for variant in VARIANTS if variant in before | table}
    content = {
        "command": "python -m benchmarks.forms.kernels",
        "batch": BATCH,
        "compute_capability": CAPABILITY,
        "machine": machine(),
        "variants": table,
    }
    write_result("kernels", content)
    PAGE.write_text(page_of(json.loads(json.dumps(content))))
    LISTED.write_text(listed_of(table).model_dump_json(indent=1) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
