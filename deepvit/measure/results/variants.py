"""The table of variants, as a result."""

from typing import Literal

from deepvit.metrics.result import Fraction, Record, Result
from deepvit.model.row import Variant
from deepvit.model.variants import VARIANTS


class VariantRow(Record):
    """One variant; `published_top1` on ImageNet-1k, `published_similar_blocks` attend like the one before."""

    name: str
    aliases: tuple[str, ...]
    depth: int
    embed_dim: int
    num_heads: int
    reattention_blocks: int
    stem: str
    img_size: int
    num_classes: int
    crop_pct: float
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    parameters: int
    published_top1: Fraction | None
    published_similar_blocks: int | None
    checkpoint: str | None


class Variants(Result):
    """What `models` lists."""

    kind: Literal["variants"] = "variants"
    variants: list[VariantRow]


def all_variants() -> Variants:
    """Return the table of all variants."""
    return Variants(variants=[_row(variant) for variant in VARIANTS.values()])


def _row(variant: Variant) -> VariantRow:
    architecture = variant.architecture
    return VariantRow(
        name=variant.name,
        aliases=variant.aliases,
        depth=architecture.depth,
        embed_dim=architecture.embed_dim,
        num_heads=architecture.num_heads,
        reattention_blocks=architecture.reattention_blocks,
        stem=architecture.stem.value,
        img_size=variant.img_size,
        num_classes=variant.num_classes,
        crop_pct=variant.crop_pct,
        interpolation=variant.interpolation,
        mean=variant.mean,
        std=variant.std,
        parameters=variant.parameters,
        published_top1=None if variant.top1 is None else variant.top1 / 100,
        published_similar_blocks=variant.similar_blocks,
        checkpoint=variant.checkpoint_url,
    )
