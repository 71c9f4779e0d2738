"""The two networks, alike but for re-attention."""

from deepvit.model.variants import Architecture, Stem, Variant

from .characters import COUNT, characters
from .distort import SIDE

DEPTH = 12
REATTENTION_BLOCKS = 9


def glyph_variants(depth: int = DEPTH, embed_dim: int = 128, count: int = COUNT) -> dict[str, Variant]:
    """Return the DeepViT, whose last three quarters of blocks mix their maps, and the plain ViT of the same size."""
    return {
        name: Variant(
            name=name,
            architecture=Architecture(
                depth=depth,
                embed_dim=embed_dim,
                reattention_blocks=blocks,
                stem=Stem.CNN,
                num_heads=4,
                patch_size=8,
                transform_scale=True,
            ),
            parameters=0,  # unused here
            top1=None,
            img_size=SIDE,
            num_classes=count,
            crop_pct=1.0,
            class_names=characters()[:count],
        )
        for name, blocks in (("glyphs_deepvit", depth * REATTENTION_BLOCKS // DEPTH), ("glyphs_vit", 0))
    }
