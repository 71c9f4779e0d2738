"""`eval`: accuracy on labelled images."""

import pathlib
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from commands.console import check_json, err, images_bar, out, print_next, write_json
from commands.options import (
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

if TYPE_CHECKING:
    from export.open_model import OpenedModel


def evaluate(
    model: Annotated[str, typer.Argument(help="An artifact folder, its model.onnx or plan, or a variant (PyTorch).")],
    imagenet: Annotated[str, typer.Option(help="Labelled images: val/<synset>/*.JPEG, or what timm reads.")],
    limit: Annotated[int | None, typer.Option(min=1, help="So many images, spread over the dataset.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=4096, help="Images per run.")] = 32,
    reference: Annotated[str, typer.Option(help="none, pytorch, or an artifact to agree with.")] = "none",
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
    """Measure top-1 and top-5 on labelled images, and the agreement with a reference."""
    from export.open_model import SessionOptions, open_model, open_reference
    from runtime import evaluate as evaluation
    from runtime.describe import describe_corrupt, describe_evaluation
    from runtime.imagenet import open_dataset, spread

    check_json(json_path)
    weights = weights_from(checkpoint, pretrained, no_ema, img_size)
    how = SessionOptions(provider=provider, trust_unverified=trust_unverified, allow_host_code=allow_host_code)
    opened = open_model(model, how, weights, preprocess_as)
    other = open_reference(reference, opened, how, weights)
    source = spread(open_dataset(imagenet, opened.session.classes), limit)
    if opened.has_random_weights:
        err.print(RANDOM_WEIGHTS)
    with images_bar("evaluating", len(source)) as advance:
        tally, seconds = evaluation.evaluate(
            opened.session,
            source,
            opened.preprocessing,
            reference=None if other is None else (other.name, other.session, other.preprocessing),
            batch_size=batch_size,
            workers=workers,
            progress=advance,
        )
    result = evaluation.summarize(
        tally,
        seconds,
        model=opened.name,
        session=opened.session,
        random_weights=opened.has_random_weights,
        dataset=imagenet,
        source=source,
        published_top1=opened.published_top1,
        reference=None if other is None else other.name,
    )
    for line in describe_evaluation(result):
        out.print(line)
    for line in describe_corrupt(result):
        err.print(line)
    if opened.manifest is not None and other is None:
        last = opened.manifest.parity[-1]
        out.print(
            f"at export: {last.stage} agreed with {last.against} on {last.top1_agreement:.2%} of {last.images} images"
        )
    write_json(json_path, lambda: result.model_dump_json(indent=2))
    print_next(_after_eval(model, imagenet, opened, other is not None, checkpoint))


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
