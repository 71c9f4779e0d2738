"""`eval`: accuracy on labelled images."""

import pathlib
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from deepvit.runtime.errors import OutOfBoundsError

from .terminal.console import check_json, out, print_next, write_json
from .terminal.options import (
    RANDOM_WEIGHTS,
    AllowHostCode,
    Checkpoint,
    ImgSize,
    Json,
    NoEma,
    Pretrained,
    Provider,
    TrustUnverified,
    weights_from,
)
from .terminal.progress import note, progress_bar

if TYPE_CHECKING:
    from deepvit.measure.evaluate.request import Opened
    from deepvit.measure.evaluate.result import Evaluation
    from deepvit.measure.opened import OpenedModel


def evaluate(
    models: Annotated[
        list[str], typer.Argument(help="Artifact folders, their model.onnx or plan, or variants (PyTorch); one pass.")
    ],
    imagenet: Annotated[str, typer.Option(help="Labelled images: val/<synset>/*.JPEG, or what timm reads.")],
    limit: Annotated[int | None, typer.Option(min=1, help="So many images, spread over the dataset.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=4096, help="Images per run.")] = 32,
    reference: Annotated[str, typer.Option(help="none, pytorch, or an artifact to agree with.")] = "none",
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the same evaluation was interrupted.")] = False,
    cache_crops: Annotated[
        bool, typer.Option("--cache-crops", help="Keep decoded crops for the next evaluation; 7.5 GB for ImageNet.")
    ] = False,
    real_labels: Annotated[pathlib.Path | None, typer.Option(help="ReaL's real.json, for ImageNet's val.")] = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="Show the classes, the worst first.")] = False,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Processes that share the images.")] = 1,
    gpus: Annotated[str | None, typer.Option(help="One process on each of these GPUs, as in 0,1.")] = None,
    checkpoint: Checkpoint = None,
    pretrained: Pretrained = False,
    no_ema: NoEma = False,
    img_size: ImgSize = None,
    provider: Provider = None,
    trust_unverified: TrustUnverified = False,
    allow_host_code: AllowHostCode = False,
    preprocess_as: Annotated[str | None, typer.Option("--variant", help="For a file without a manifest.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, max=256, help="Decoding processes.")] = None,
    json_path: Json = None,
) -> None:
    """Measure top-1 and top-5 on labelled images, and the agreement with a reference; exit 1 where that is too low."""
    from deepvit.measure.evaluate.evaluator import EvaluationOptions
    from deepvit.measure.evaluate.kept import Keeping
    from deepvit.measure.evaluate.request import EvaluationRequest, open_request, run_request, shards_from
    from deepvit.measure.opened import SessionOptions

    check_json(json_path)
    request = EvaluationRequest(
        models=tuple(models),
        dataset=imagenet,
        limit=limit,
        reference=reference,
        how=SessionOptions(provider=provider, trust_unverified=trust_unverified, allow_host_code=allow_host_code),
        weights=weights_from(checkpoint, pretrained, no_ema, img_size),
        preprocess_as=preprocess_as,
        options=EvaluationOptions(batch_size=batch_size, workers=workers),
        shards=shards_from(processes, gpus),
        keeping=Keeping(resume=resume, crops=cache_crops),
        real_labels=real_labels,
    )
    opened = open_request(request)
    _refuse_unusable_layouts(opened)
    if any(each.has_random_weights for each in opened.models):
        note(RANDOM_WEIGHTS)
    with progress_bar("evaluating", len(opened.source)) as advance:
        results = run_request(request, opened, advance)
    first = opened.models[0]
    _show(results, first.session.classes if per_class else None)
    if first.manifest is not None and opened.reference is None and len(results) == 1:
        last = first.manifest.parity[-1]
        out.print(
            f"at export: {last.stage} agreed with {last.against} on {last.top1_agreement:.2%} of {last.images} images"
        )
    write_json(json_path, lambda: _to_json(results))
    _judge(opened, results)
    print_next(_after_eval(models[0], imagenet, first, opened.reference is not None, checkpoint))


def _show(results: "list[Evaluation]", classes: int | None) -> None:
    """Print the scores; with the number of `classes`, those of each too."""
    from deepvit.images.class_names import default_labels
    from deepvit.measure.evaluate.words import describe_classes, describe_corrupt, describe_evaluations

    for line in describe_evaluations(results):
        out.print(line)
    if classes is not None:
        names = default_labels(classes)
        for result in results:
            out.print(describe_classes(result, names))
    for line in describe_corrupt(results[0]):
        note(line)


def _to_json(results: "list[Evaluation]") -> str:
    """Return one model's result as an object, several as a list of them."""
    if len(results) == 1:
        return results[0].model_dump_json(indent=2)
    return "[\n" + ",\n".join(result.model_dump_json(indent=2) for result in results) + "\n]"


def _refuse_unusable_layouts(opened: "Opened") -> None:
    """Refuse what cannot even be run, before anything is.

    Raises:
        OutOfBoundsError: A manifest whose preprocessing cannot make the graph's input.
    """
    for model in opened.models:
        if model.layout_fault is not None:
            raise OutOfBoundsError(f"{model.name}: {model.layout_fault}; export it again")


def _judge(opened: "Opened", results: "list[Evaluation]") -> None:
    """Refuse results outside their bounds.

    Raises:
        OutOfBoundsError: Some are.
    """
    from deepvit.measure.evaluate.verdict import evaluation_breaches

    refused = []
    reference = None if opened.reference is None else opened.reference.precision
    for model, faults, result in zip(opened.models, opened.faults, results, strict=True):
        if found := [*faults, *evaluation_breaches(result, model.precision, reference)]:
            refused.append(f"{model.name}: {', '.join(found)}")
    if refused:
        against = "" if opened.reference is None else f" against {opened.reference.name}"
        raise OutOfBoundsError(f"not good enough{against}: {'; '.join(refused)}")


def _after_eval(
    model: str, imagenet: str, opened: "OpenedModel", has_reference: bool, checkpoint: pathlib.Path | None
) -> str:
    """Return the command that usually follows an evaluation."""
    weights = f" --checkpoint {shlex.quote(str(checkpoint))}" if checkpoint else " --pretrained"
    if opened.has_random_weights:
        weights = ""
    data = f"--imagenet {shlex.quote(imagenet)}"
    if opened.manifest is not None and not has_reference:
        return f"python cli.py eval {shlex.quote(model)} {data} --reference pytorch{weights}"
    precision = "--fp16" if opened.manifest is None else "--bf16"
    return f"python cli.py export {opened.variant or 'deepvit_32'} {precision}{weights} {data}"
