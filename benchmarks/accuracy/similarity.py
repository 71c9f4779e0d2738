"""How alike the blocks attend, in PyTorch and in the INT8 graph."""

import dataclasses
import pathlib
import tempfile
from typing import Any

import numpy as np

from benchmarks.common.neighbours import STYLES, neighbours_figure
from deepvit.calibration.options import QuantizationOptions
from deepvit.export.graph.spec import Outputs
from deepvit.export.options import GraphOptions, Target
from deepvit.export.pipeline import export_artifact
from deepvit.measure.attention.analysis import AttentionAnalysis, AttentionSums
from deepvit.measure.attention.maps import MapSource, OnnxMaps
from deepvit.measure.attention.torch_maps import TorchMaps
from deepvit.runtime.artifact.manifest import Precision

from .forms import Graphs
from .subject import Subject, export_options, say

IMAGES = 200
THRESHOLD = 0.9  # the paper's
LINES = {
    "before_the_mix": ("softmaxed", "#22a06b"),
    "after_the_mix": ("mixed", "#f97316"),
    "features": ("features", "#3b82f6"),
}


def measure_similarity(subject: Subject, _graphs: Graphs) -> dict[str, Any]:
    """Return what both forms' blocks have in common, in the mean over held-out images of all classes."""
    graph = GraphOptions(precision=Precision.INT8, target=Target.ONNX, outputs=Outputs.MAPS)
    with tempfile.TemporaryDirectory() as name:
        options = dataclasses.replace(
            export_options(graph, subject.dataset),
            output=pathlib.Path(name) / "int8",
            quantization=QuantizationOptions(check_images=0),
        )
        say("INT8 with its maps")
        artifact = export_artifact(subject.loaded, options)
        sources: dict[str, MapSource] = {"PyTorch": TorchMaps(subject.loaded.module), "INT8": OnnxMaps(artifact)}
        return {"images": IMAGES, "threshold": THRESHOLD} | {
            form: _figures_of(_analysis(subject, form, source)) for form, source in sources.items()
        }


def _analysis(subject: Subject, form: str, source: MapSource) -> AttentionAnalysis:
    say(f"maps of {form}")
    sums: AttentionSums | None = None
    chosen = np.linspace(0, len(subject.images) - 1, IMAGES).astype(int)
    for place in chosen:
        maps = source.maps(subject.images[place : place + 1])
        sums = AttentionSums.of(maps) if sums is None else sums + AttentionSums.of(maps)
    assert sums is not None
    return sums.analysis(
        model=subject.name,
        runs_on=source.description,
        random_weights=False,
        images=[str(place) for place in chosen],
        threshold=THRESHOLD,
        reattends=list(maps.reattends),
    )


def _figures_of(found: AttentionAnalysis) -> dict[str, Any]:
    matrices = {"before_the_mix": found.similarity_before, "features": found.features}
    similar = {"before_the_mix": found.similar_blocks_before}
    if any(found.reattends):
        matrices["after_the_mix"], similar["after_the_mix"] = found.similarity_after, found.similar_blocks_after
    return {
        "runs_on": found.runs_on,
        "blocks": len(found.reattends),
        "similar_blocks": similar,
        "similarity_to_the_block_before": {
            name: np.diagonal(np.array(matrix), offset=1).tolist() for name, matrix in matrices.items()
        },
    }


def draw_similarity(found: dict[str, Any], title: str) -> Any:
    """Draw how alike each block is to the one before, a line in PyTorch and squares in INT8."""
    lines = [
        (LINES[name][0], form, LINES[name][1], values)
        for form in STYLES
        for name, values in found[form]["similarity_to_the_block_before"].items()
    ]
    about = f"{title}: attention before and after INT8, {found['images']} images"
    return neighbours_figure(lines, found["threshold"], about)
