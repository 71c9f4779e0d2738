"""What eight bits cost a trained model, part by part.

Usage: python -m benchmarks.accuracy data/glyphs [--models NAME NAME] [--only PART PART]; the dataset is an ImageNet
folder, as `make glyphs` writes it, and the models have weights of their own. Writes
benchmarks/results/accuracy-PART-MODEL.json, the pictures beside them, and docs/accuracy.md from all that is there.
"""

import argparse
import functools
import json
import pathlib
from collections.abc import Callable
from typing import Any

from benchmarks.accuracy.budgets import draw_budgets, measure_budgets
from benchmarks.accuracy.forms import MAIN, Graphs
from benchmarks.accuracy.mending import measure_mending
from benchmarks.accuracy.page import DEEPVIT, results_of, write_page
from benchmarks.accuracy.peers import measure_peers
from benchmarks.accuracy.precisions import measure_precisions
from benchmarks.accuracy.sensitivity import draw_sensitivity, measure_all_linears
from benchmarks.accuracy.similarity import draw_similarity, measure_similarity
from benchmarks.accuracy.sizes import draw_sizes, measure_sizes
from benchmarks.accuracy.subject import Subject, decoded_here, say, subject_of
from benchmarks.accuracy.timm_loop import measure_timm_loop
from benchmarks.common.command_line import RESULTS
from benchmarks.common.interleaved import machine
from deepvit.measure.display.figures import save_figure
from deepvit.metrics.result import rounded
from deepvit.model.load import load_model

PARTS: dict[str, tuple[Callable[[Subject, Graphs], dict[str, Any]], Callable[[dict[str, Any], str], Any] | None]] = {
    "precisions": (measure_precisions, None),
    "sensitivity": (measure_all_linears, draw_sensitivity),
    "budgets": (measure_budgets, draw_budgets),
    "similarity": (measure_similarity, draw_similarity),
    "sizes": (measure_sizes, draw_sizes),
    "peers": (measure_peers, None),
    "timm": (measure_timm_loop, None),
    "mending": (measure_mending, None),
    "main": (functools.partial(measure_precisions, names=MAIN), None),
}
# The last two are asked for by name: what was tried once, and a part of the precisions, for a second model.
WHOLE = [part for part in PARTS if part not in ("mending", "main")]


def write_part(part: str, subject: Subject, graphs: Graphs, output: pathlib.Path, images: int | None) -> None:
    """Measure one part of one model, write what it found, and draw it; `images` is the limit that was asked for."""
    measure, draw = PARTS[part]
    say(f"{subject.name}: {part}")
    described = subject.described()
    found = rounded(measure(subject, graphs))
    command = f"python -m benchmarks.accuracy {described['dataset']} --models {subject.name} --only {part}"
    command += "" if images is None else f" --images {images}"
    content = {"command": command, **rounded(described), "machine": machine(), "found": found}
    path = output / f"accuracy-{part}-{subject.name}.json"
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    if draw is not None:
        save_figure(draw(found, subject.name), path.with_suffix(".png"), "--output")
    say(f"wrote {path.name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="what make glyphs wrote")
    parser.add_argument("--models", nargs="+", default=[DEEPVIT], metavar="NAME", help="with weights of their own")
    parser.add_argument("--only", nargs="+", default=WHOLE, choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--images", type=int, help="held-out images; all if not given")
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS, help="another folder for the results")
    given = parser.parse_args()
    with decoded_here():
        for name in given.models:
            subject = subject_of(load_model(name, pretrained=True), given.dataset, given.images)
            graphs = Graphs(subject.loaded, subject.dataset)
            for part in given.only:
                write_part(part, subject, graphs, given.output, given.images)
    if given.output == RESULTS and results_of(DEEPVIT).keys() >= {"precisions", "timm"}:
        say(f"wrote {write_page().name}")


if __name__ == "__main__":
    main()
