"""docs/accuracy.md, made of benchmarks/results/accuracy-*.json."""

import json
import pathlib
from collections.abc import Iterator
from typing import Any

from benchmarks.common.command_line import RESULTS, ROOT
from benchmarks.forms.page import wrapped

from .budgets import HELD_OUT, SEARCH
from .forms import PLAIN
from .precisions import ONNXRUNTIME, OPENVINO

PAGE = ROOT / "docs" / "accuracy.md"
DEEPVIT, VIT = "glyphs_deepvit", "glyphs_vit"
SIGNIFICANT = 0.01  # McNemar's p
Content = dict[str, Any]

TEXT = """\
# Accuracy

What each precision costs a trained model, on images hard enough to show it: {deepvit}, a DeepViT of 12 blocks, tells 1,000
characters apart ([examples/glyphs](../examples/glyphs/README.md)), {images:,} pictures in faces that it never saw; in
PyTorch it is right on {top1} (95% interval {top1_interval}){vit}. `python -m benchmarks.accuracy data/glyphs` measures all of this and writes this page;
{cores} cores of an {cpu}, {versions}; `--only PART` one part of it. No GPU has been measured, and no ImageNet model: what eight bits cost depends on the
model and its images, and `export` measures it on yours. {timm}

## Every precision

{deepvit} (`{precisions}`, in `benchmarks/results/{precisions_file}`), against PyTorch in float32, image by image: drop of
top-1 in points with its 95% interval, same class, images that only PyTorch has right and that only the form has, McNemar's
exact p, SQNR of the logits. In ONNX Runtime every tensor is rounded to the type that the graph gives it, as a GPU that
stores it would. Calibrated on {calibration} images of `train/`, which has other faces.

{table}

{plain}

In OpenVINO, which computes FP16 in float32:

{openvino}{vit_section}

## Which linear costs what

![A bar for every linear](../benchmarks/results/{sensitivity_file}.png)

{linears} linears on {sensitivity_images} images (`{sensitivity}`, in `benchmarks/results/{sensitivity_file}.json`). The most
sensitive when it is quantised alone: {most}; the least: {least}. All of them together: {all_sqnr}.

## What kept linears buy

![Drop of top-1 over the number of linears kept in FP16](../benchmarks/results/{budgets_file}.png)

`--max-drop` keeps the most sensitive linears in FP16, as few as meet the budget on the {search} images that calibrated, and
checks the choice on held-out ones (`{budgets}`, in `benchmarks/results/{budgets_file}.json`). {curve}

{outcomes}

## Attention before and after

![Similarity of each block to the one before](../benchmarks/results/{similarity_file}.png)

{similarity_words} (`{similarity}`, in `benchmarks/results/{similarity_file}.json`).

## How many images calibrate

![Drop, agreement and SQNR by the number of calibration images](../benchmarks/results/{sizes_file}.png)

{sizes_words} (`{sizes}`, in `benchmarks/results/{sizes_file}.json`).

## Beside ONNX Runtime's own tool

The same float32 graph, the same linears in INT8 (signed, symmetric, a scale for each output channel), the same
{peer_calibration} images, all else in float32, all run by ONNX Runtime (`{peers}`, in
`benchmarks/results/{peers_file}.json`). onnxruntime.quantization neither rescales nor corrects biases.

{peer_table}
"""


def results_of(model: str) -> dict[str, Content]:
    """Return what was found of a model, by part."""
    files = RESULTS.glob(f"accuracy-*-{model}.json")
    return {path.stem.split("-")[1]: json.loads(path.read_text()) for path in files}


def page_of(deepvit: dict[str, Content], vit: dict[str, Content]) -> str:
    """Return the page of the results of both models; of the plain ViT there may be none."""
    whole = deepvit["precisions"]
    found = {part: content["found"] for part, content in deepvit.items()}
    commands = {part: content["command"] for part, content in deepvit.items()}
    files = {f"{part}_file": f"accuracy-{part}-{DEEPVIT}" for part in deepvit}
    machine = whole["machine"]
    names = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
    units = found["sensitivity"]["units"]
    text = TEXT.format(
        deepvit=DEEPVIT,
        images=whole["images"],
        top1=_percent(whole["pytorch"]["top1"]),
        top1_interval=_interval(whole["pytorch"]["top1_interval"]),
        vit=_vit(vit),
        timm=_timm(deepvit["timm"]),
        cores=machine["cores"],
        cpu=machine["cpu"],
        versions=", ".join(f"{name} {machine['versions'][key]}" for key, name in names.items()),
        calibration=found["precisions"]["calibration_images"],
        table="\n".join(_table(found["precisions"]["forms"], ONNXRUNTIME)),
        plain=_plain(found["precisions"]["forms"]),
        openvino="\n".join(_table(found["precisions"]["forms"], OPENVINO)),
        vit_section=_vit_section(vit),
        linears=len(units),
        sensitivity_images=found["sensitivity"]["images"],
        most=", ".join(map(_unit, units[:3])),
        least=_unit(units[-1]),
        all_sqnr=_db(found["sensitivity"]["all_sqnr_db"]),
        search=found["budgets"]["curve"]["search_images"],
        curve=_curve(found["budgets"]["curve"]),
        outcomes="\n".join(map(_outcome, found["budgets"]["budget"])),
        similarity_words=_similarity(found["similarity"]),
        sizes_words=_sizes(found["sizes"]["rows"]),
        peer_calibration=found["peers"]["calibration_images"],
        peer_table="\n".join(_peers(found["peers"]["rows"])),
        **commands,
        **(files | {"precisions_file": f"{files['precisions_file']}.json"}),
    )
    return wrapped(text)


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
    high = 100 * ours["drop_fraction_interval"]["high"]
    return (
        f"What `export` writes loses {_points(ours['drop_fraction'])} points, at most {high:.2f} by the interval. Plain "
        f"max without help, whose activations are not rescaled and whose biases are not corrected, {verdict}: "
        f"{_points(plain['drop_fraction'])} points, p {plain['mcnemar_p']:.2g}, {_db(plain['sqnr_db'])}."
    )


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
        return f"- {asked} is refused: “{row['refused']}”."
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


def write_page() -> pathlib.Path:
    """Write docs/accuracy.md anew."""
    PAGE.write_text(page_of(results_of(DEEPVIT), results_of(VIT)))
    return PAGE


if __name__ == "__main__":
    write_page()
