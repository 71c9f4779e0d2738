"""docs/forms.md, made of benchmarks/results/forms.json."""

import pathlib
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "forms.md"
PLAIN = "ONNX Runtime, plain, "  # what the names of its levels begin with
OWN = "it knows ONNX's own operators alone; `--int8` without `--target cpu` has no others"
# What to do where a form is refused: form → engine, or PLAIN for all its levels → words. A cell that is not here stops
# the script: whoever finds it says what is to be done.
REMEDIES = {
    "--bf16": {
        PLAIN: "its CPU provider has no kernels for BF16: export with `--fp16` or `--fp32`, or take OpenVINO",
        "ONNX Runtime, our session": "refused by us, by name; what measures (`eval`, `compare`) rounds float32 to BF16",
        "our C++ runtime": "refused by us, by name; TensorRT engines take BF16 (none has been run by us)",
    },
    "--int8 --target cpu": {"onnx.reference": OWN, "onnx.reference, mended": OWN},
    "--fp8 --quantize-attention": {
        PLAIN: "set `session.disable_quant_qdq=1`, as our runtimes do, or stay at BASIC, as `package` tells Triton to",
    },
}
WRONG = {  # engine → what to do where it answers wrongly, whatever the form
    "onnx.reference": "its LayerNormalization squares FP16 in FP16 up to onnx 1.23, though `stash_type` asks for float32 "
    "([mended since](https://github.com/onnx/onnx/pull/8439)); with float32 there (‘mended’) it is right"
}
MARK, WIDTH = "**", 120

TEXT = """\
# Which form runs where

`model.onnx` opens in whatever reads ONNX, but not every form in every engine, and some engines answer wrongly without a
word. This is {variant}, trained, in every form that `export` writes, on {images} images
(`{command}` in `benchmarks/results/forms.json`, from which it writes this page). Versions:
{versions}; {cores} cores of an {cpu}{vnni}.

A number is how far the engine's answer is from the form's own, SQNR in dB; {equal} is no difference. The form's own answer is
that of our session with every tensor rounded to the type that the graph gives it (`Arithmetic.AS_DECLARED`); its distance
from PyTorch in float32 comes first. *Wrong* is what `deepvit/metrics/bounds.py` asks of an engine: below
{bounds}, or another class where the bound has agreement too. All images keep their class where nothing is said.

## ONNX Runtime

Plain is a session that is told nothing but its level of optimisation; ours sets what the form needs
(`runtime/ort/demands.py`). `export` tries the plain ones and writes what they did into the manifest, under `plain`.

{onnxruntime}

## Others

OpenVINO is told to compute in float32, or nothing: then it takes BF16 where the processor has it, and is held to BF16's
bound.

{others}

## What is refused or wrong

{faults}

All else is right. Nothing that `package` writes is among it: Triton's ONNX Runtime backend takes no session entries, so
`package` gives it the last level at which the form runs without, tries that, and leaves the backend out where it fails.

| form | level for Triton's ONNX Runtime | there |
|---|---|---|
{packaged}

## Older ONNX Runtimes

Before 1.30 ONNX Runtime's CPU provider cut off where QuantizeLinear of FP16 has to round
([its pull request](https://github.com/microsoft/onnxruntime/pull/32452)): with `--int8` about half of the activations come
out a step nearer to zero. At every level that costs digits_cnn 10 to 12 dB and no class,
and digits_patch 12 to 14 dB and the class of one or two of 596 images; no session entry helps. It stays within
the bound, so that neither the golden image nor `plain` in the manifest shows it. `pip install '.[cpu]'` asks for 1.30. Where you bring
ONNX Runtime yourself, as for the C++ runtime and Triton, and it is older: take `--int8 --target cpu`, whose activations are
float32 where they are quantised; the other forms do not quantise FP16 to integers. Seen by hand in 1.22.0, 1.23.2, 1.24.1
and 1.29.0, and no more in 1.30.0 and 1.31.
"""


def page_of(content: dict[str, Any]) -> str:
    """Return the page of a result.

    Raises:
        LookupError: A cell is no right answer, and REMEDIES has no word on it, or it is one that `package` writes.
    """
    forms, machine = content["forms"], content["machine"]
    engines = list(next(iter(forms.values()))["cells"])
    of_onnxruntime = [name for name in engines if name.startswith("ONNX Runtime")]
    versions = {"ONNX Runtime": machine["versions"]["onnxruntime"], "OpenVINO": machine["versions"]["openvino"]}
    return wrapped(
        TEXT.format(
            variant=content["variant"],
            images=content["images"],
            command=content["command"],
            versions=", ".join(f"{name} {version}" for name, version in (versions | {"onnx": content["onnx"]}).items()),
            cores=machine["cores"],
            cpu=machine["cpu"],
            vnni=" with AVX512-VNNI" if machine["avx512_vnni"] else "",
            equal=_number(None),
            bounds=", ".join(f"{bound:g} in {form.upper()}" for form, bound in content["bounds_db"].items()),
            onnxruntime="\n".join(_table(forms, of_onnxruntime, is_first=True)),
            others="\n".join(_table(forms, [name for name in engines if name not in of_onnxruntime])),
            faults="\n".join(_faults(forms)),
            packaged="\n".join(_packaged(forms)),
        )
    )


def wrapped(text: str) -> str:
    """Fill paragraphs and items of lists; tables and headings stay."""
    lines = ((block.split("\n") if block[0] in "|-#" else [block]) for block in text.strip().split("\n\n"))
    return "\n\n".join("\n".join(map(_filled, each)) for each in lines) + "\n"


def _filled(line: str) -> str:
    if line[0] in "|#":
        return line
    indent = "  " if line[0] == "-" else ""
    return textwrap.fill(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _table(forms: dict[str, Any], engines: list[str], *, is_first: bool = False) -> Iterator[str]:
    heads = [name.removeprefix("ONNX Runtime, ").replace("plain, ", "") for name in engines]
    yield _line(["form", *(["from PyTorch"] if is_first else []), *heads])
    yield "|" + "---|" * (1 + is_first + len(engines))
    for form, row in forms.items():
        first = [_number(row["against_pytorch"]["sqnr_db"])] if is_first else []
        yield _line([f"`{form}`", *first, *(_cell(row["cells"][name]) for name in engines)])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(sqnr_db: float | None) -> str:
    return "=" if sqnr_db is None else f"{sqnr_db:.1f}"


def _cell(cell: dict[str, Any]) -> str:
    if cell["verdict"] not in ("right", "wrong"):
        return f"{MARK}{cell['verdict']}{MARK}"
    if "agreement" not in cell:
        return f"{MARK}wrong{MARK}"
    agreement = "" if cell["agreement"] == 1 else f", {cell['agreement']:.1%}"
    measured = _number(cell["sqnr_db"]) + agreement
    return measured if cell["verdict"] == "right" else f"{MARK}wrong: {measured}{MARK}"


def _faults(forms: dict[str, Any]) -> Iterator[str]:
    """Yield a line for every remedy: which forms and engines need it, and what the engine said."""
    found: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for form, row in forms.items():
        for engine, cell in row["cells"].items():
            if cell["verdict"] in ("refused", "wrong"):
                key = (cell["verdict"], _remedy(form, engine, cell["verdict"]))
                found.setdefault(key, []).append((form, engine, cell["why"]))
    for (verdict, remedy), cells in found.items():
        names = ", ".join(f"`{form}`" for form in dict.fromkeys(form for form, _, _ in cells))
        engines = ", ".join(dict.fromkeys(engine for _, engine, _ in cells)).replace(f", {PLAIN}", ", ")
        yield f"- {names} in {engines}: {verdict} (“{cells[0][2]}”). {remedy[0].upper()}{remedy[1:]}."


def _remedy(form: str, engine: str, verdict: str) -> str:
    known = REMEDIES.get(form, {}) if verdict == "refused" else WRONG
    remedy = known.get(PLAIN if engine.startswith(PLAIN) else engine)
    if remedy is None:
        raise LookupError(f"{form} in {engine}: {verdict}; say in REMEDIES or WRONG what is to be done")
    return remedy


def _packaged(forms: dict[str, Any]) -> Iterator[str]:
    for form, row in forms.items():
        level = row["packaged_level"]
        cell = {} if level is None else row["cells"][PLAIN + level]
        if cell and cell["verdict"] != "right":
            raise LookupError(f"`package` writes {form} at {level}, where it is {cell['verdict']}: {cell['why']}")
        yield _line(
            [f"`{form}`", level or "none", _cell(cell) if cell else "left out; without an engine `package` refuses it"]
        )
