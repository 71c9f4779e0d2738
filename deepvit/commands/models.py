"""`models`: the table of variants."""

import json

from .terminal.console import out, print_next, write_json
from .terminal.options import Json


def models(json_path: Json = None) -> None:
    """List the variants: architecture, parameters, published accuracy, aliases, checkpoint."""
    import rich.table

    from deepvit.model.variants import VARIANTS

    table = rich.table.Table(box=None, pad_edge=False)
    for column in ("variant", "blocks", "re-attention", "dim", "stem", "image", "parameters", "top-1", "weights"):
        table.add_column(column, no_wrap=True)
    rows = []
    for row in VARIANTS.values():
        arch = row.architecture
        weights = "published" if row.drive_id else "bundled" if row.bundled_weights else "–"
        table.add_row(
            row.name, f"{arch.depth}", f"last {arch.reattention_blocks}" if arch.reattention_blocks else "none",
            f"{arch.embed_dim}", arch.stem.value, f"{row.img_size}", f"{row.parameters / 1e6:.1f} M",
            "–" if row.top1 is None else f"{row.top1:.2f}", weights,
        )  # fmt: skip
        rows.append(
            {
                "name": row.name, "aliases": row.aliases, "depth": arch.depth, "embed_dim": arch.embed_dim,
                "num_heads": arch.num_heads, "reattention_blocks": arch.reattention_blocks, "stem": arch.stem.value,
                "img_size": row.img_size, "num_classes": row.num_classes, "crop_pct": row.crop_pct,
                "interpolation": row.interpolation, "mean": row.mean, "std": row.std, "parameters": row.parameters,
                "published_top1": row.top1, "checkpoint": row.checkpoint_url,
            }
        )  # fmt: skip
    out.print(table)
    for row in VARIANTS.values():
        for alias in row.aliases:
            out.print(f"{row.name} is {alias} in the original code")
    out.print("top-1: percent on ImageNet-1k as published; the digits models are ours, of handwritten digits")
    write_json(json_path, lambda: json.dumps(rows, indent=2))
    print_next("export deepvit_32 --fp16")
