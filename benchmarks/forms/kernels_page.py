"""docs/kernels.md, made of benchmarks/results/kernels.json."""

import pathlib
from collections.abc import Iterator
from typing import Any

from benchmarks.forms.page import wrapped

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "kernels.md"
UNPADDED = " --no-pad-tokens"
FORMS = ("--fp32", "--fp16", "--bf16", "--int8", "--fp8")
COMPARED = ("--fp16", "--int8", "--fp8")

TEXT = """\
# What the compiler makes of each graph

TensorRT-RTX compiles on any machine, without a GPU, and lists the kernels of the finished engine. This is every variant in
every precision, compiled by TensorRT-RTX {version} for compute capability {capability} at batch {batch}
(`{command}` in `benchmarks/results/kernels.json`, from which it writes this page). No engine
was run: bytes are what kernels read and write, a bound from above, since caches hold some of it; speeds are not known.
`python cli.py inspect ARTIFACT --kernels --batch 32` shows the same of an artifact.

The precision gate passes for all {rows} of them: each of their {products} GEMMs and convolutions is named by a layer of the
engine that reads the promised type.

## Kernels, and MB an image through memory

{totals}

## Padded tokens

TensorRT-RTX has no FP16 product whose rows are of odd length, as 197 tokens make them: it copies them into aligned rows
before and cuts them after. So where maps are mixed across heads the graph has 200 rows (584 for 577 tokens); those that pad
are masked before the softmax and count nowhere, so that the logits are the same (`export/graph/padding.py`).
`--no-pad-tokens` leaves them out:

{padding}

Plain attention (the `vit` variants) is one kernel of TensorRT-RTX's own, which needs no padding; for the two small models six
rows beside 26 would cost more than they save.

## Eight bits

{eight}

By peaks alone, an H200's 990 TFLOP/s in FP16 and 4.8 TB/s as NVIDIA's data sheet has them, the 21 GFLOP of deepvit_32 take
21 µs and its 338 MB take 70 µs: memory is expected to set the pace, and eight bits to pay only where they move less. `export`
says in one line where they do not. Why they do not: attention stays FP16, and a product in eight bits is not fused with the
GELU behind it, whose input is so written and read once more.
"""


def page_of(content: dict[str, Any]) -> str:
    """Return the page of a result."""
    variants = content["variants"]
    rows = [row for forms in variants.values() for row in forms.values()]
    return wrapped(
        TEXT.format(
            version=rows[0]["tensorrt_rtx"],
            capability=content["compute_capability"],
            batch=content["batch"],
            command=content["command"],
            rows=len(rows),
            products=sum(row["products"] for row in rows),
            totals="\n".join(_totals(variants)),
            padding="\n".join(_padding(variants)),
            eight="\n".join(_eight(variants)),
        )
    )


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _totals(variants: dict[str, Any]) -> Iterator[str]:
    yield _line("variant", *(f"`{form}`" for form in FORMS))
    yield "|" + "---|" * (1 + len(FORMS))
    for variant, forms in variants.items():
        yield _line(variant, *(f"{forms[f]['kernels']}, {forms[f]['mb_per_image']:.1f}" for f in FORMS))


def _padding(variants: dict[str, Any]) -> Iterator[str]:
    yield _line("variant, form", "kernels without, with", "MB without, with", "of them copies that only align")
    yield "|---|---|---|---|"
    for variant, forms in variants.items():
        for form in COMPARED:
            if form + UNPADDED in forms:
                before, after = forms[form + UNPADDED], forms[form]
                yield _line(
                    f"{variant} `{form}`",
                    f"{before['kernels']}, {after['kernels']}",
                    f"{before['mb_per_image']:.1f}, {after['mb_per_image']:.1f}",
                    f"{before['aligning_copies']} ({before['copies_mb_per_image']:.1f} MB), {after['aligning_copies']}",
                )


def _eight(variants: dict[str, Any]) -> Iterator[str]:
    yield _line(
        "variant", "MB in FP16", "in INT8", "in FP8", "GEMMs stored in eight bits, of them widened in INT8, FP8"
    )
    yield "|---|---|---|---|---|"
    for variant, forms in variants.items():
        half, integer, small = (forms[form] for form in COMPARED)
        relative = [
            f"{row['mb_per_image']:.1f} ({row['mb_per_image'] / half['mb_per_image'] - 1:+.0%})"
            for row in (integer, small)
        ]
        yield _line(
            variant,
            f"{half['mb_per_image']:.1f}",
            *relative,
            f"{integer['quantized']}, {integer['widened']}, {small['widened']}",
        )
