"""`models`: the table of variants."""

from .terminal.console import out, print_next, write_json
from .terminal.following import first_export
from .terminal.options import Json
from .terminal.outputs import check_outputs


def models(json_path: Json = None) -> None:
    """List the variants: architecture, parameters, published accuracy, aliases, checkpoint."""
    import rich.table

    from deepvit.model.variants import VARIANTS

    check_outputs(json=json_path)
    table = rich.table.Table(box=None, pad_edge=False)
    for column in ("variant", "blocks", "re-attention", "dim", "stem", "image", "parameters", "top-1", "weights"):
        table.add_column(column, no_wrap=True)
    for row in VARIANTS.values():
        arch = row.architecture
        weights = "published" if row.drive_id else "bundled" if row.bundled_weights else "–"
        table.add_row(
            row.name, f"{arch.depth}", f"last {arch.reattention_blocks}" if arch.reattention_blocks else "none",
            f"{arch.embed_dim}", arch.stem.value, f"{row.img_size}", f"{row.parameters / 1e6:.1f} M",
            "–" if row.top1 is None else f"{row.top1:.2f}", weights,
        )  # fmt: skip
    out.print(table)
    for row in VARIANTS.values():
        for alias in row.aliases:
            out.print(f"{row.name} is {alias} in the original code")
    out.print("top-1: percent on ImageNet-1k as published; the digits models are ours, of handwritten digits")
    if json_path is not None:
        from deepvit.measure.results.variants import all_variants  # and pydantic, which the table does without

        write_json(json_path, all_variants().to_json)
    print_next(first_export())
