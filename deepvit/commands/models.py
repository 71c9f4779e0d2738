"""`models`: the table of variants."""

from .terminal.console import out, print_next, write_json
from .terminal.following import first_export
from .terminal.options import Json
from .terminal.outputs import check_outputs


def models(json_path: Json = None) -> None:
    """List the variants: architecture, parameters, published accuracy, aliases, checkpoint."""
    import rich.table

    from deepvit.model.variants import VARIANTS
    from deepvit.model.vit_pytorch import VIT_PYTORCH

    check_outputs(json=json_path)
    table = rich.table.Table(box=None, pad_edge=False)
    for column in ("variant", "blocks", "mixed", "dim", "stem", "px", "params", "top-1", "alike", "weights"):
        table.add_column(column, no_wrap=True, justify="left" if column in ("variant", "stem", "weights") else "right")
    for row in VARIANTS.values():
        arch = row.architecture
        weights = "published" if row.drive_id else "bundled" if row.bundled_weights else "–"
        table.add_row(
            row.name, f"{arch.depth}", f"{arch.reattention_blocks}",
            f"{arch.embed_dim}", arch.stem.value, f"{row.img_size}", f"{row.parameters / 1e6:.1f} M",
            "–" if row.top1 is None else f"{row.top1:.2f}",
            "–" if row.similar_blocks is None else f"{row.similar_blocks}", weights,
        )  # fmt: skip
    out.print(table)
    for row in VARIANTS.values():
        for alias in row.aliases:
            out.print(f"{row.name} is {alias} in the original code")
    out.print(f"{VIT_PYTORCH.name} is vit-pytorch's DeepViT, of whatever size its --checkpoint has")
    out.print("mixed: so many blocks, the last, have re-attention; px: side of the images")
    out.print("top-1, alike: as published, percent on ImageNet-1k and blocks like the one before")
    out.print("the digits and glyphs models are ours, of handwritten digits and a thousand Chinese characters")
    if json_path is not None:
        from deepvit.measure.results.variants import all_variants  # and pydantic, which the table does without

        write_json(json_path, all_variants().to_json)
    print_next(first_export())
