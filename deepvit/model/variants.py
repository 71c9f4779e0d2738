"""One table: name → architecture, preprocessing, published figures, parameters, checkpoint link.

Sources: Zhou et al., "DeepViT: Towards Deeper Vision Transformer" (arXiv:2103.11886) for the architectures, accuracies
and numbers of similar blocks; the original implementation's README and training configurations for which published
file is which.
"""

import dataclasses
import difflib
import enum
import math
from typing import Literal

from deepvit.runtime.errors import InputError
from deepvit.runtime.preprocess import Preprocessing

from .glyphs import GLYPHS

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]


class Stem(enum.Enum):
    """How an image becomes patch tokens."""

    PATCH = "patch"  # one convolution, kernel and stride = patch size
    CNN = "cnn"  # 7×7/2 and 3×3 convolutions with BatchNorm and ReLU, then a patch convolution
    NORMED = "normed"  # a LayerNorm before and behind the patches' linear: "dual patchnorm" (arXiv:2302.01327)


class MixNorm(enum.Enum):
    """The norm that follows the mix of the heads."""

    BATCH = "batch"  # BatchNorm over heads; "FC + BN" in the paper's tables
    NONE = "none"  # "FC"
    LAYER = "layer"  # LayerNorm over heads, pair of tokens by pair of tokens: vit-pytorch's


class Pooling(enum.Enum):
    """What of the last block's tokens is classified."""

    CLS = "cls"  # the class token
    MEAN = "mean"  # the mean of all, the class token among them


class Layout(enum.Enum):
    """Whose names and shapes the weights of a checkpoint have."""

    ORIGINAL = "original"
    VIT_PYTORCH = "vit-pytorch"  # which say the architecture, too


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """Everything that fixes the network but for image size, classes and channels."""

    depth: int
    embed_dim: int
    reattention_blocks: int  # the last so many blocks mix their attention maps across heads
    stem: Stem = Stem.PATCH
    num_heads: int = 12
    mlp_ratio: float = 3.0
    patch_size: int = 16
    transform_scale: bool = False  # multiply the re-attended maps by head_dim ** -0.5
    scale_adjustment: float = 1.0  # a in: x + f(norm(a·x)) / a
    mix_norm: MixNorm = MixNorm.BATCH  # where a state dict does not say another
    head_width: int | None = None  # embed_dim / num_heads where None
    norm_eps: float = 1e-6
    pooling: Pooling = Pooling.CLS

    def __post_init__(self) -> None:
        if self.head_width is None and self.embed_dim % self.num_heads:
            raise InputError(f"embed_dim {self.embed_dim} is not a multiple of num_heads {self.num_heads}")
        if not 0 <= self.reattention_blocks <= self.depth:
            raise InputError(f"reattention_blocks {self.reattention_blocks} is not within 0..{self.depth}")

    @property
    def head_dim(self) -> int:
        return self.head_width or self.embed_dim // self.num_heads

    @property
    def mlp_dim(self) -> int:
        return round(self.embed_dim * self.mlp_ratio)

    def require_sizes(self, img_size: int, num_classes: int, in_chans: int) -> None:
        """Refuse sizes that no such network has.

        Raises:
            InputError: A side that is no multiple of the patch size, or no class or channel.
        """
        if img_size < self.patch_size or img_size % self.patch_size:
            raise InputError(f"img_size {img_size} is not a positive multiple of the patch size {self.patch_size}")
        if num_classes < 1:
            raise InputError(f"num_classes {num_classes} is less than 1")
        if in_chans < 1:
            raise InputError(f"in_chans {in_chans} is less than 1")

    def has_reattention(self, block: int) -> bool:
        """Return whether block `block` (0-based) mixes its maps across heads."""
        return block >= self.depth - self.reattention_blocks


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of the table; `top1` and `similar_blocks` are as published, None where nothing was.

    Attributes:
        top1: In percent on ImageNet-1k.
        similar_blocks: How many blocks attend like the one before, by the maps that multiply the values.
    """

    name: str
    architecture: Architecture
    parameters: int
    top1: float | None
    similar_blocks: int | None = None
    aliases: tuple[str, ...] = ()
    img_size: int = 224
    num_classes: int = 1000
    crop_pct: float = 0.9
    interpolation: Interpolation = "bicubic"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    drive_id: str | None = None  # Google Drive file of the published checkpoint
    bundled_weights: str | None = None  # trained weights shipped with this package, in weights/trained
    class_names: tuple[str, ...] | None = None  # of `num_classes` that are not ImageNet's
    layout: Layout = Layout.ORIGINAL

    @property
    def checkpoint_url(self) -> str | None:
        return f"https://drive.google.com/uc?id={self.drive_id}" if self.drive_id else None

    @property
    def is_published(self) -> bool:
        """Whether the row is a model of the paper, not one of our two small models."""
        return self.bundled_weights is None and self.layout is Layout.ORIGINAL

    def names_of(self, classes: int) -> tuple[str, ...] | None:
        """Return the row's own class names, where a model has as many classes as the row."""
        return self.class_names if classes == self.num_classes else None

    def resize_for(self, img_size: int) -> int:
        """Return the length of the shorter side before the crop, timm's floor(img_size / crop_pct)."""
        return math.floor(img_size / self.crop_pct)

    def preprocessing(self, img_size: int, layout: Literal["NCHW", "NHWC"] = "NCHW") -> Preprocessing:
        """Return how images become the input of a model of this row that takes images of side `img_size`."""
        return Preprocessing(
            resize=self.resize_for(img_size),
            crop=img_size,
            interpolation=self.interpolation,
            mean=self.mean,
            std=self.std,
            layout=layout,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unsaid:
    """What vit-pytorch's weights do not say of their model; None: nobody else does."""

    pooling: Pooling | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    crop_pct: float | None = None
    interpolation: Interpolation | None = None

    @property
    def given(self) -> dict[str, object]:
        """What somebody said, by name."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


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

# vit-pytorch's DeepViT, which has the sizes that its checkpoint has. Nothing there says how images are prepared: as
# torchvision does for ImageNet, unless somebody says otherwise.
VIT_PYTORCH = Variant(
    name="vit_pytorch_deepvit",
    architecture=Architecture(depth=1, embed_dim=64, reattention_blocks=1, num_heads=1, mix_norm=MixNorm.LAYER),
    parameters=0,
    top1=None,
    crop_pct=0.875,
    interpolation="bilinear",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    layout=Layout.VIT_PYTORCH,
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
