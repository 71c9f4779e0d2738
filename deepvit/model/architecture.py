"""What fixes a network: its blocks, their widths, and the forms of its parts."""

import dataclasses
import enum

from deepvit.runtime.errors import InputError


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
