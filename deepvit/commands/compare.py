"""`compare`: how far models are from their reference, without labels; with --layers, block by block."""

import pathlib
from collections.abc import Sequence
from typing import Annotated

from deepvit.measure.compare.options import ComparisonOptions
from deepvit.measure.options import SessionOptions, WeightOptions
from deepvit.runtime.errors import InputError, OutOfBoundsError
from deepvit.runtime.options import Help, Without

from .terminal.console import out, print_next, write_json
from .terminal.following import after_build, after_compare
from .terminal.options import OUTPUT, RANDOM_WEIGHTS, Json
from .terminal.outputs import check_outputs
from .terminal.progress import note, progress_bar, steps


def compare(
    *,
    models: Annotated[
        tuple[str, ...], Help("Artifact folders, files of them, or variants (PyTorch).", is_argument=True)
    ],
    options: ComparisonOptions,
    layers: Annotated[bool, Help("Compare at the output of every block, by Polygraphy.", heading="Reference")] = False,
    plot: Annotated[pathlib.Path | None, Help("Draw the worst images to this PNG, SVG or PDF.", heading=OUTPUT)] = None,
    weights: Annotated[WeightOptions, Without("img_size", "num_classes")],
    sessions: Annotated[SessionOptions, Without("threads")],
    json_path: Json = None,
) -> None:
    """Measure how far models are from their reference on any images, no labels needed; exit 1 where that is too far."""
    check_outputs(json=json_path, plot=plot, reads=(*models, weights.checkpoint))
    if layers:
        _compare_layers(models, options, weights, json_path)
        return
    with steps() as step:
        step("opening the reference")
        from deepvit.measure.compare.ladder import DEFAULT_IMAGES, compare_models
        from deepvit.measure.compare.opening import open_reference_for
        from deepvit.measure.compare.pictures import draw_worst
        from deepvit.measure.compare.words import describe_comparison

        reference = open_reference_for(options.reference, models, sessions, weights)
    if reference.has_random_weights:
        note(RANDOM_WEIGHTS)
    count = options.count or DEFAULT_IMAGES
    with progress_bar("comparing", count) as advance:
        comparison = compare_models(
            models,
            reference,
            sessions,
            weights,
            dataset=options.dataset,
            count=count,
            policy=options.decoding,
            progress=advance,
        )
    for line in describe_comparison(comparison):
        out.print(line)
    for corrupt in comparison.corrupt:
        note(f"corrupt, not compared: {corrupt.name}: {corrupt.error}")
    if plot is not None:
        draw_worst(comparison, plot)
    write_json(json_path, comparison.to_json)
    refused = [f"{model.model}: {', '.join(model.breaches)}" for model in comparison.models if model.breaches]
    if refused:
        raise OutOfBoundsError(f"too far from {comparison.reference}: {'; '.join(refused)}")
    print_next(after_compare(models, reference.session.classes, options, weights, sessions))


def _compare_layers(
    models: Sequence[str], options: ComparisonOptions, weights: WeightOptions, json_path: pathlib.Path | None
) -> None:
    """Show block by block how far an artifact is from float32: its graph, and its engine where there is a GPU."""
    if len(models) != 1:
        raise InputError(f"compare --layers takes one artifact, got {len(models)}")
    other = None if options.reference in (None, "pytorch") else pathlib.Path(str(options.reference))
    with steps() as step:
        step(f"opening {models[0]}")
        from deepvit.measure.compare.artifact_layers import report_layers
        from deepvit.measure.compare.words import describe_layers
        from deepvit.runtime.opening import artifact_of

        artifact = artifact_of(pathlib.Path(models[0]))
        report = report_layers(artifact, other, weights, options.dataset, options.count, step, options.decoding)
    if artifact.manifest.has_random_weights:
        note(RANDOM_WEIGHTS)
    for line in describe_layers(report):
        out.print(line)
    write_json(json_path, report.to_json)
    print_next(after_build(artifact))
