"""`attention`: where a model looks, and how alike its blocks are."""

import pathlib
import shlex
from typing import Annotated

import typer

from .terminal.console import check_json, out, print_next, write_json
from .terminal.options import RANDOM_WEIGHTS, Checkpoint, ImgSize, Json, NoEma, Pretrained, Provider, weights_from
from .terminal.progress import note, progress_bar


def attention(
    model: Annotated[str, typer.Argument(help="A variant (PyTorch), or an artifact exported with --attention-maps.")],
    images: Annotated[str | None, typer.Option(help="Any folder of images; else the bundled photographs.")] = None,
    count: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many of them are analysed.")] = 16,
    drawn: Annotated[int, typer.Option(min=0, max=1000, help="Of how many pictures are made.")] = 4,
    block: Annotated[int | None, typer.Option(help="Whose heads are drawn; the last with re-attention.")] = None,
    threshold: Annotated[float, typer.Option(help="From which similarity on a block is like the one before.")] = 0.9,
    output: Annotated[pathlib.Path, typer.Option(help="Folder for the pictures.")] = pathlib.Path("attention"),
    checkpoint: Checkpoint = None,
    pretrained: Pretrained = False,
    no_ema: NoEma = False,
    img_size: ImgSize = None,
    provider: Provider = None,
    json_path: Json = None,
) -> None:
    """Draw attention maps before and after the mix, and measure how alike blocks, heads and features are."""
    from deepvit.measure.attention.pictures import describe_attention
    from deepvit.measure.attention.run import AttentionOptions, analyse_attention, open_maps

    check_json(json_path)
    options = AttentionOptions(
        dataset=images, count=count, drawn=drawn, block=block, threshold=threshold, output=output
    )
    opened = open_maps(model, weights_from(checkpoint, pretrained, no_ema, img_size), provider)
    if opened.random_weights:
        note(RANDOM_WEIGHTS)
    with progress_bar("attention", count) as advance:
        found, pictures = analyse_attention(opened, options, advance)
    for line in describe_attention(found):
        out.print(line)
    out.print(f"wrote {len(pictures)} pictures to {output}: {', '.join(path.name for path in pictures[-2:])}, …")
    write_json(json_path, lambda: found.model_dump_json(indent=2))
    print_next(f"python cli.py compare {shlex.quote(model)}{f' --images {shlex.quote(images)}' if images else ''}")
