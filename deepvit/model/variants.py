"""One table: name → architecture, preprocessing, published figures, parameters, checkpoint link.

Sources: Zhou et al., "DeepViT: Towards Deeper Vision Transformer" (arXiv:2103.11886) for the architectures, accuracies
and numbers of similar blocks; the original implementation's README and training configurations for which published
file is which.
"""

import difflib

from deepvit.runtime.errors import InputError

from .architecture import Architecture, Stem
from .glyphs import GLYPHS
from .row import Variant
from .vit_pytorch import VIT_PYTORCH


def _plain(depth: int, *, reattention: bool) -> Architecture:
    return Architecture(depth=depth, embed_dim=384, reattention_blocks=depth if reattention else 0)


_LARGE = Architecture(depth=32, embed_dim=420, reattention_blocks=12, stem=Stem.CNN, scale_adjustment=0.5)

_DIGITS = tuple("0123456789")


def _glyphs(name: str, parameters: int, reattention_blocks: int) -> Variant:
    """Return a model of ours for a thousand characters: accuracy hard enough to lose, without ImageNet."""
    return Variant(
        name=name,
        architecture=Architecture(
            depth=12,
            embed_dim=128,
            reattention_blocks=reattention_blocks,
            stem=Stem.CNN,
            num_heads=4,
            patch_size=8,
            transform_scale=True,
        ),
        parameters=parameters,
        top1=None,
        img_size=48,
        crop_pct=1.0,
        bundled_weights=f"{name}.safetensors",
        class_names=GLYPHS,
    )


_ROWS = (
    Variant(
        name="vit_16",
        architecture=_plain(16, reattention=False),
        parameters=24_423_784,
        top1=78.88,
        similar_blocks=5,
    ),
    Variant(
        name="vit_24",
        architecture=_plain(24, reattention=False),
        parameters=36_257_128,
        top1=79.35,
        similar_blocks=11,
    ),
    Variant(
        name="vit_32",
        architecture=_plain(32, reattention=False),
        parameters=48_090_472,
        top1=79.27,
        similar_blocks=15,
    ),
    Variant(
        name="deepvit_16",
        architecture=_plain(16, reattention=True),
        parameters=24_426_664,
        top1=79.10,
        similar_blocks=0,
        aliases=("deepvit_patch16_224_re_attn_16b",),
    ),
    Variant(
        name="deepvit_24",
        architecture=_plain(24, reattention=True),
        parameters=36_261_448,
        top1=79.99,
        similar_blocks=0,
        aliases=("deepvit_patch16_224_re_attn_24b",),
        drive_id="1lPmKdNMPJq-mq-4FivqIY4JNAPoQHYxV",
    ),
    Variant(
        name="deepvit_32",
        architecture=_plain(32, reattention=True),
        parameters=48_096_232,
        top1=80.90,
        similar_blocks=0,
        aliases=("deepvit_patch16_224_re_attn_32b",),
        drive_id="1kUBrAbAQfMT5FQJprITRxDtOE6ECZM0M",
    ),
    Variant(
        name="deepvit_s",
        architecture=Architecture(
            depth=16,
            embed_dim=396,
            reattention_blocks=5,
            stem=Stem.CNN,
            transform_scale=True,
            scale_adjustment=0.5,
        ),
        parameters=27_312_632,
        top1=82.3,
        aliases=("deepvit_S",),
        drive_id="1evhBjla4Nth7LawW2PAXnGEcpv3YBWEC",
    ),
    Variant(
        name="deepvit_l",
        architecture=_LARGE,
        parameters=58_883_708,
        top1=83.1,
        aliases=("deepvit_L",),
        drive_id="1MTRm0NK_sPGRSyuD_hHJ1Zgw2diEaKLR",
    ),
    Variant(
        name="deepvit_l_384",
        architecture=_LARGE,
        parameters=59_043_308,
        top1=84.25,
        aliases=("deepvit_L_384",),
        img_size=384,
        crop_pct=1.0,
    ),
    # Two small models of ours, trained on scikit-learn's handwritten digits: real accuracy without ImageNet.
    Variant(
        name="digits_patch",
        architecture=Architecture(depth=6, embed_dim=96, reattention_blocks=3, num_heads=4, patch_size=8),
        parameters=582_238,
        top1=None,
        img_size=40,
        num_classes=10,
        bundled_weights="digits_patch.safetensors",
        class_names=_DIGITS,
    ),
    Variant(
        name="digits_cnn",
        architecture=Architecture(
            depth=6,
            embed_dim=100,
            reattention_blocks=3,
            num_heads=4,
            patch_size=8,
            stem=Stem.CNN,
            transform_scale=True,
            scale_adjustment=0.5,
        ),
        parameters=760_222,
        top1=None,
        img_size=40,
        num_classes=10,
        bundled_weights="digits_cnn.safetensors",
        class_names=_DIGITS,
    ),
    _glyphs("glyphs_vit", 2_296_360, reattention_blocks=0),
    _glyphs("glyphs_deepvit", 2_296_612, reattention_blocks=9),
)

VARIANTS: dict[str, Variant] = {row.name: row for row in _ROWS}
_BY_ALIAS: dict[str, Variant] = {alias: row for row in _ROWS for alias in row.aliases}


def find_variant(name: str) -> Variant:
    """Return the row called `name`, by its name here or in the original code.

    Raises:
        InputError: No such row; the message names the nearest ones.
    """
    variant = VARIANTS.get(name) or _BY_ALIAS.get(name)
    if variant is not None:
        return variant
    if name == VIT_PYTORCH.name:
        return VIT_PYTORCH
    names = [*VARIANTS, *_BY_ALIAS, VIT_PYTORCH.name]
    nearest = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    hint = f"nearest: {', '.join(nearest)}" if nearest else f"known: {', '.join(VARIANTS)}"
    raise InputError(f"unknown variant {name!r}; {hint}; list them with: ‹deepvit› models")
