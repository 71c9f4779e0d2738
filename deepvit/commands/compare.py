"""`compare`: how far models are from their reference, without labels; with --layers, block by block."""

import pathlib
import shlex
from typing import Annotated

import typer

from deepvit.runtime.errors import InputError, OutOfBoundsError

from .terminal.console import check_json, out, print_next, write_json
from .terminal.options import (
    RANDOM_WEIGHTS,
    AllowHostCode,
    Checkpoint,
    Json,
    NoEma,
    Pretrained,
    Provider,
    TrustUnverified,
    weights_from,
)
from .terminal.progress import note, progress_bar, steps


def compare(
    models: Annotated[list[str], typer.Argument(help="Artifact folders, files of them, or variants (PyTorch).")],
    images: Annotated[str | None, typer.Option(help="Any folder of images; else the bundled photographs.")] = None,
    imagenet: Annotated[str | None, typer.Option(help="A dataset's val/, as for eval; labels are not used.")] = None,
    count: Annotated[int | None, typer.Option(min=1, max=50_000, help="At most so many images; 64.")] = None,
    reference: Annotated[
        str | None, typer.Option(help="pytorch, or an artifact; else PyTorch where its weights are given.")
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="At the output of every block, by Polygraphy.")] = False,
    plot: Annotated[pathlib.Path | None, typer.Option(help="Draw the worst images to this PNG, SVG or PDF.")] = None,
    checkpoint: Checkpoint = None,
    pretrained: Pretrained = False,
    no_ema: NoEma = False,
    provider: Provider = None,
    trust_unverified: TrustUnverified = False,
    allow_host_code: AllowHostCode = False,
    json_path: Json = None,
) -> None:
    """Measure how far models are from their reference on any images, no labels needed; exit 1 where that is too far."""
    from deepvit.images.class_names import default_labels
    from deepvit.measure.compare.ladder import DEFAULT_IMAGES, compare_models, open_reference_for
    from deepvit.measure.compare.pictures import draw_worst
    from deepvit.measure.compare.words import describe_comparison
    from deepvit.measure.opened import SessionOptions

    check_json(json_path)
    if images is not None and imagenet is not None:
        raise InputError("--images and --imagenet both name the images; give one of them")
    if layers:
        _compare_layers(models, reference, images or imagenet, count, checkpoint, pretrained, no_ema, json_path)
        return
    how = SessionOptions(provider=provider, trust_unverified=trust_unverified, allow_host_code=allow_host_code)
    weights = weights_from(checkpoint, pretrained, no_ema, None)
    opened = open_reference_for(reference, models, how, weights)
    if opened.has_random_weights:
        note(RANDOM_WEIGHTS)
    wanted = DEFAULT_IMAGES if count is None else count
    with progress_bar("comparing", wanted) as advance:
        found = compare_models(models, opened, how, weights, dataset=images or imagenet, count=wanted, progress=advance)
    names = default_labels(opened.session.classes)
    for line in describe_comparison(found, names):
        out.print(line)
    for corrupt in found.corrupt:
        note(f"corrupt, not compared: {corrupt.name}: {corrupt.error}")
    if plot is not None:
        draw_worst(found, names, plot)
    write_json(json_path, lambda: found.model_dump_json(indent=2))
    refused = [f"{model.model}: {', '.join(model.breaches)}" for model in found.models if model.breaches]
    if refused:
        raise OutOfBoundsError(f"too far from {found.reference}: {'; '.join(refused)}")
    print_next(f"python cli.py eval {' '.join(map(shlex.quote, models))} --imagenet {shlex.quote(imagenet or '/data')}")


def _compare_layers(
    models: list[str],
    reference: str | None,
    dataset: str | None,
    count: int | None,
    checkpoint: pathlib.Path | None,
    pretrained: bool,
    no_ema: bool,
    json_path: pathlib.Path | None,
) -> None:
    """Show block by block how far an artifact is from float32: its graph, and its engine where there is a GPU."""
    from deepvit.measure.compare.artifact_layers import report_layers
    from deepvit.measure.compare.words import describe_layers
    from deepvit.runtime.session import artifact_of

    if len(models) != 1:
        raise InputError(f"compare --layers takes one artifact, got {len(models)}")
    opened = artifact_of(pathlib.Path(models[0]))
    weights = weights_from(checkpoint, pretrained, no_ema, None)
    other = None if reference in (None, "pytorch") else pathlib.Path(str(reference))
    with steps() as step:
        report = report_layers(opened, other, weights, dataset, count, step)
    if opened.manifest.has_random_weights:
        note(RANDOM_WEIGHTS)
    for line in describe_layers(report):
        out.print(line)
    write_json(json_path, report.to_json)
    print_next(f"python cli.py inspect {shlex.quote(str(opened.folder))}")
