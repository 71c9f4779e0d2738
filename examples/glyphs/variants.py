"""The two networks, alike but for re-attention, in any depth."""

import dataclasses

from deepvit.model.row import Variant
from deepvit.model.variants import VARIANTS

NAMES = ("glyphs_deepvit", "glyphs_vit")


def glyph_variant(name: str, depth: int | None = None) -> Variant:
    """Return the row `name`, or the same network of another depth, with re-attention in the same part of its blocks."""
    row = VARIANTS[name]
    of = row.architecture
    if depth in (None, of.depth):
        return row
    mixed = of.reattention_blocks * depth // of.depth
    other = dataclasses.replace(of, depth=depth, reattention_blocks=mixed)
    return dataclasses.replace(row, name=f"{name}_{depth}", architecture=other, parameters=0, bundled_weights=None)
