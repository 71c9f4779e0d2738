"""docs/accuracy.md, made of benchmarks/results/accuracy-*.json."""

import json
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.common.command_line import RESULTS, ROOT
from benchmarks.forms.page import wrapped

from .budgets import HELD_OUT, SEARCH
from .forms import PLAIN
from .precisions import ONNXRUNTIME, OPENVINO

PAGE = ROOT / "docs" / "accuracy.md"
DEEPVIT, VIT = "glyphs_deepvit", "glyphs_vit"
VIT_PLACE = "‹vit›"  # where the plain ViT's table goes
SIGNIFICANT = 0.01  # McNemar's p
Content = dict[str, Any]

TEXT = """\
# Accuracy

What each precision costs a trained model, on images hard enough to show it: {deepvit}, a DeepViT of 12 blocks, tells 1,000
characters apart ([examples/glyphs](../examples/glyphs/README.md)), {images:,} pictures in faces that it never saw; in
PyTorch it is right on {top1} (95% interval {top1_interval}){vit}. `python -m benchmarks.accuracy data/glyphs` measures all of this and writes this page;
{cores} cores of an {cpu}, {versions}; `--only PART` one part of it. No GPU has been measured, and no ImageNet model: what eight bits cost depends on the
model and its images, and `export` measures it on yours. {timm_words}

## Every precision

{deepvit} (`{command}`, in `benchmarks/results/{file}.json`), against PyTorch in float32, image by image: drop of
top-1 in points with its 95% interval, same class, images that only PyTorch has right and that only the form has, McNemar's
exact p, SQNR of the logits. In ONNX Runtime every tensor is rounded to the type that the graph gives it, as a GPU that
stores it would. Calibrated on {calibration} images of `train/`, which has other faces.

{table}

{plain}

In OpenVINO, which computes FP16 in float32:

{openvino}‹vit›

## Which linear costs what

![A bar for every linear](../benchmarks/results/{file}.png)

{linears} linears on {images} images (`{command}`, in `benchmarks/results/{file}.json`). The most
sensitive when it is quantised alone: {most}; the least: {least}. All of them together: {all_sqnr}.

## What kept linears buy

![Drop of top-1 over the number of linears kept in FP16](../benchmarks/results/{file}.png)

`--max-drop` keeps the most sensitive linears in FP16, as few as meet the budget on the {search} images that calibrated, and
checks the choice on held-out ones (`{command}`, in `benchmarks/results/{file}.json`). {curve}

{outcomes}

## Attention before and after

![Similarity of each block to the one before](../benchmarks/results/{file}.png)

{words} (`{command}`, in `benchmarks/results/{file}.json`).

## How many images calibrate

![Drop, agreement and SQNR by the number of calibration images](../benchmarks/results/{file}.png)

{words} (`{command}`, in `benchmarks/results/{file}.json`).

## Beside other tools

The same float32 graph, the same linears in INT8 (signed, symmetric, a scale for each output channel), the same
{images} images, all else in float32, all run by ONNX Runtime (`{command}`, in
`benchmarks/results/{file}.json`). None of the others was told to rescale or
to correct biases; NVIDIA's ModelOpt is among them where it is installed (`benchmarks/accuracy/peers.py` says how).

{table}
"""


def results_of(model: str) -> dict[str, Content]:
    """Return what was found of a model, by part."""
    files = RESULTS.glob(f"accuracy-*-{model}.json")
    return {path.stem.split("-")[1]: json.loads(path.read_text()) for path in files}


def page_of(deepvit: dict[str, Content], vit: dict[str, Content]) -> str:
    """Return the page of the results of both models; parts that were not measured have no section."""
    head, *sections = TEXT.split("\n## ")
    titled = {each.partition("\n")[0]: each for each in sections}
    text = head.format(vit=_vit(vit), timm_words=_timm(deepvit["timm"]), **_of(deepvit["precisions"]))
    for part, (title, words_of) in SECTIONS.items():
        if part in deepvit:
            content = deepvit[part]
            file = f"accuracy-{part}-{DEEPVIT}"
            words = words_of(content["found"])
            section = titled[title].format(command=content["command"], file=file, deepvit=DEEPVIT, **words)
            text += "\n## " + section.replace(VIT_PLACE, _vit_section(vit))
    return wrapped(text)


def _of(whole: Content) -> Content:
    machine, exact = whole["machine"], whole["pytorch"]
    names = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
    return {
        "deepvit": DEEPVIT,
        "images": whole["images"],
        "top1": _percent(exact["top1"]),
        "top1_interval": _interval(exact["top1_interval"]),
        "cores": machine["cores"],
        "cpu": machine["cpu"],
        "versions": ", ".join(f"{name} {machine['versions'][key]}" for key, name in names.items()),
    }


def _precisions(found: Content) -> Content:
    forms = found["forms"]
    return {
        "calibration": found["calibration_images"],
        "table": "\n".join(_table(forms, ONNXRUNTIME)),
        "plain": _plain(forms),
        "openvino": "\n".join(_table(forms, OPENVINO)),
    }


def _sensitivity(found: Content) -> Content:
    units = found["units"]
    return {
        "linears": len(units),
        "images": found["images"],
        "most": ", ".join(map(_unit, units[:3])),
        "least": _unit(units[-1]),
        "all_sqnr": _db(found["all_sqnr_db"]),
    }


def _budgets(found: Content) -> Content:
    outcomes = "\n".join(map(_outcome, found["budget"]))
    return {"search": found["curve"]["search_images"], "curve": _curve(found["curve"]), "outcomes": outcomes}


def _timm(content: Content) -> str:
    found = content["found"]
    return (
        f"timm's own validation loop ({found['timm']}, `{content['command']}`) has {found['right_by_timm']:,} of the "
        f"{found['images']:,} right, `eval`'s evaluator {found['right']:,}, with the same class on {found['same_answers']:,}."
    )


def _vit(vit: dict[str, Content]) -> str:
    if not vit:
        return ""
    exact = vit["main"]["pytorch"]
    return (
        f"; {VIT}, the plain ViT of the same size, on {_percent(exact['top1'])} ({_interval(exact['top1_interval'])})"
    )


def _vit_section(vit: dict[str, Content]) -> str:
    if not vit:
        return ""
    whole = vit["main"]
    table = "\n".join(_table(whole["found"]["forms"], ONNXRUNTIME))
    where = f"`{whole['command']}`, in `benchmarks/results/accuracy-main-{VIT}.json`"
    return f"\n\n{VIT}, the plain ViT ({where}):\n\n{table}"


HEAD = "| | top-1 | drop (95%) | same class | only PyTorch, only it | p | SQNR |"


def _table(forms: Content, engine: str) -> Iterator[str]:
    yield HEAD
    yield "|---|---|---|---|---|---|---|"
    for name, row in forms.items():
        if engine in row:
            yield _row(name, row[engine])


def _peers(rows: Content) -> Iterator[str]:
    yield HEAD
    yield "|---|---|---|---|---|---|---|"
    for name, row in rows.items():
        yield _row(f"{name} ({row['quantized_gemms']} products)", row)


def _row(name: str, row: Content) -> str:
    if "refused" in row:
        return f"| {name} | refused | | | | | |"
    drop = f"{_points(row['drop_fraction'])} ({_interval(row['drop_fraction_interval'])})"
    cells = [
        _percent(row["top1"]), drop, _percent(row["agreement"]), f"{row['lost']}, {row['gained']}",
        f"{row['mcnemar_p']:.2g}", _db(row["sqnr_db"]),
    ]  # fmt: skip
    return f"| {name} | {' | '.join(cells)} |"


def _plain(forms: Content) -> str:
    plain, ours = forms[PLAIN][ONNXRUNTIME], forms["INT8"][ONNXRUNTIME]
    is_worse = plain["mcnemar_p"] < SIGNIFICANT and plain["drop_fraction"] > 0
    verdict = "is significantly worse than PyTorch" if is_worse else "is not significantly worse than PyTorch either"
    return (
        f"`--int8` as `export` writes it {_lost(ours)}. Plain max without help, whose activations are not rescaled and "
        f"whose biases are not corrected, {verdict}: {_points(plain['drop_fraction'])} points, p "
        f"{plain['mcnemar_p']:.2g}, {_db(plain['sqnr_db'])} instead of {_db(ours['sqnr_db'])}. {_worse(forms)}"
    )


def _worse(forms: Content) -> str:
    rows = {name: row[ONNXRUNTIME] for name, row in forms.items()}
    worse = [name for name, row in rows.items() if row["mcnemar_p"] < SIGNIFICANT and row["drop_fraction"] > 0]
    return f"Significantly worse (p < {SIGNIFICANT:g}): {'; '.join(worse) or 'none of them'}."


def _lost(row: Content) -> str:
    ends = row["drop_fraction_interval"]
    interval = f"its drop of {_points(row['drop_fraction'])} points has the 95% interval {_interval(ends)}"
    if ends["low"] <= 0:
        return f"loses nothing that so many images can show: {interval}"
    return f"loses more than chance would: {interval}"


def _unit(row: Content) -> str:
    return f"`{row['unit']}` ({_db(row['alone_sqnr_db'])})"


def _curve(curve: Content) -> str:
    first, last = curve["rows"][0], curve["rows"][-1]
    return (
        f"With all {curve['linears']} in INT8 the drop is {_points(first[SEARCH]['drop_fraction'])} points on those that "
        f"are searched and {_points(first[HELD_OUT]['drop_fraction'])} on the held-out ones "
        f"({_interval(first[HELD_OUT]['drop_fraction_interval'])}); with {last['kept']} kept, "
        f"{_points(last[SEARCH]['drop_fraction'])} and {_points(last[HELD_OUT]['drop_fraction'])}."
    )


def _outcome(row: Content) -> str:
    asked = f"`--max-drop {row['max_drop']:g}{' --confident' if row['confident'] else ''}`"
    if "refused" in row:
        why = re.sub(r"--\w+", lambda option: option[0].replace("_", "-"), row["refused"].partition("; loosen")[0])
        return f"- {asked} is refused: “{why}”."
    check = row["check"]
    shown = "lies within it too" if row["budget_proof"]["is_shown"] else "does not lie within it"
    return (
        f"- {asked} keeps {len(row['kept'])} linears: drop {_points(check['drop'])} points on {check['images']:,} held-out images; "
        f"its interval, {_interval(check['drop_interval'])}, {shown}."
    )


def _similarity(found: Content) -> str:
    kinds = {"before_the_mix": "before the mix", "after_the_mix": "after it"}
    similar = {form: found[form]["similar_blocks"] for form in ("PyTorch", "INT8")}
    of = found["PyTorch"]["blocks"] - 1
    counts = " and ".join(
        f"{similar['PyTorch'][kind]} {words} (in INT8 {similar['INT8'][kind]})"
        for kind, words in kinds.items()
        if kind in similar["PyTorch"]
    )
    return (
        f"Of {of} blocks, {counts} attend like the one before, with a similarity of at least {found['threshold']:g}; means "
        f"over {found['images']} held-out images. The largest change by INT8 is {_largest_change(found):.3f}"
    )


def _largest_change(found: Content) -> float:
    exact, got = (found[form]["similarity_to_the_block_before"] for form in ("PyTorch", "INT8"))
    return max(abs(a - b) for name in exact for a, b in zip(exact[name], got[name], strict=True))


def _sizes(rows: list[Content]) -> str:
    first, last = rows[0], rows[-1]
    drops = [row["drop_fraction"] for row in rows]
    return (
        f"From {first['calibration_images']} to {last['calibration_images']:,} images the drop lies between "
        f"{_points(min(drops))} and {_points(max(drops))} points, agreement between "
        f"{_percent(min(row['agreement'] for row in rows))} and {_percent(max(row['agreement'] for row in rows))}, SQNR "
        f"between {_db(min(row['sqnr_db'] for row in rows))} and {_db(max(row['sqnr_db'] for row in rows))}"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"


def _points(share: float) -> str:
    return f"{100 * share:.2f}".replace("-", "−")


def _interval(ends: Content) -> str:
    return f"{_points(ends['low'])} to {_points(ends['high'])}"


def _db(value: float | None) -> str:
    return "equal" if value is None else f"{value:.1f} dB"


SECTIONS: dict[str, tuple[str, Callable[[Content], Content]]] = {  # part → its section, and what fills it
    "precisions": ("Every precision", _precisions),
    "sensitivity": ("Which linear costs what", _sensitivity),
    "budgets": ("What kept linears buy", _budgets),
    "similarity": ("Attention before and after", lambda found: {"words": _similarity(found)}),
    "sizes": ("How many images calibrate", lambda found: {"words": _sizes(found["rows"])}),
    "peers": (
        "Beside other tools",
        lambda found: {"images": found["calibration_images"], "table": "\n".join(_peers(found["rows"]))},
    ),
}


def write_page() -> pathlib.Path:
    """Write docs/accuracy.md anew."""
    PAGE.write_text(page_of(results_of(DEEPVIT), results_of(VIT)))
    return PAGE


if __name__ == "__main__":
    write_page()
