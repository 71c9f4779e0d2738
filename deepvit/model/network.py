"""DeepViT: patch embeddings, blocks, classifier, with the original's state-dict names."""

from collections.abc import Callable

import torch
from timm.layers import DropPath, Mlp, trunc_normal_
from torch import nn

from deepvit.runtime.errors import InputError

from .architecture import Architecture, MixNorm, Pooling, Stem
from .attention import Attention, ReAttention
from .row import Variant

STEM_CHANNELS = 64


class PatchStem(nn.Module):
    """Patches by one convolution whose kernel and stride are the patch size; (B, C, H, W) → (B, N, dim)."""

    def __init__(self, patch_size: int, in_chans: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, embed_dim, kernel_size=patch_size, stride=patch_size)

    @property
    def first_conv(self) -> nn.Conv2d:
        return self.proj

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)


class CnnStem(nn.Module):
    """Patches by three convolutions, the first halving the resolution; (B, C, H, W) → (B, N, dim)."""

    def __init__(self, patch_size: int, in_chans: int, embed_dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_chans, STEM_CHANNELS, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM_CHANNELS)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(STEM_CHANNELS, STEM_CHANNELS, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(STEM_CHANNELS)
        self.proj = nn.Conv2d(STEM_CHANNELS, embed_dim, kernel_size=patch_size // 2, stride=patch_size // 2)

    @property
    def first_conv(self) -> nn.Conv2d:
        return self.conv1

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.proj(x).flatten(2).transpose(1, 2)


class NormedStem(nn.Module):
    """Patches by LayerNorm, linear, LayerNorm; (B, C, H, W) → (B, N, dim), a patch's pixels in the order (h, w, C)."""

    def __init__(self, patch_size: int, in_chans: int, embed_dim: int) -> None:
        super().__init__()
        self.patch_size, width = patch_size, patch_size**2 * in_chans
        self.norm_in = nn.LayerNorm(width)
        self.proj = nn.Linear(width, embed_dim)
        self.norm_out = nn.LayerNorm(embed_dim)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        batch, channels, height, _ = images.shape
        size, side = self.patch_size, height // self.patch_size
        patches = images.reshape(batch, channels, side, size, side, size).permute(0, 2, 4, 3, 5, 1)
        return self.norm_out(self.proj(self.norm_in(patches.flatten(3).flatten(1, 2))))


PatchEmbedding = PatchStem | CnnStem | NormedStem
STEMS: dict[Stem, Callable[[int, int, int], PatchEmbedding]] = {
    Stem.PATCH: PatchStem,
    Stem.CNN: CnnStem,
    Stem.NORMED: NormedStem,
}


class Block(nn.Module):
    """x + attn(norm1(a·x))/a, then x + mlp(norm2(a·x))/a, with a = `scale_adjustment`; (B, N, C) → (B, N, C)."""

    def __init__(
        self,
        architecture: Architecture,
        index: int,
        mix_norm: MixNorm,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        dim, heads, width = architecture.embed_dim, architecture.num_heads, architecture.head_dim
        self.scale_adjustment = architecture.scale_adjustment
        self.norm1 = nn.LayerNorm(dim, eps=architecture.norm_eps)
        self.attn: Attention = (
            ReAttention(dim, heads, mix_norm, architecture.transform_scale, attn_drop_rate, drop_rate, width)
            if architecture.has_reattention(index)
            else Attention(dim, heads, attn_drop_rate, drop_rate, width)
        )
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate > 0 else nn.Identity()
        self.norm2 = nn.LayerNorm(dim, eps=architecture.norm_eps)
        self.mlp = Mlp(dim, architecture.mlp_dim, drop=drop_rate)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.scale_adjustment
        if a == 1.0:  # spares the graph two multiplications and two divisions that change nothing
            x = x + self.drop_path(self.attn(self.norm1(x)))
            return x + self.drop_path(self.mlp(self.norm2(x)))
        x = x + self.drop_path(self.attn(self.norm1(x * a))) / a
        return x + self.drop_path(self.mlp(self.norm2(x * a))) / a


class DeepViT(nn.Module):
    """The classifier: images (B, in_chans, H, W), normalised → logits (B, num_classes).

    Args:
        architecture: What fixes the network.
        img_size: Side of the square images, a multiple of the patch size.
        num_classes: Width of the classifier.
        in_chans: Image channels.
        mix_norm: The norm of re-attention, where not the architecture's.
        drop_rate: Dropout on tokens, projections and MLPs (training only).
        attn_drop_rate: Dropout on the attention maps (training only).
        drop_path_rate: Stochastic depth of the last block, rising linearly from 0 (training only).

    Raises:
        InputError: An image size, class count or channel count that cannot be built.
    """

    def __init__(
        self,
        architecture: Architecture,
        img_size: int = 224,
        num_classes: int = 1000,
        in_chans: int = 3,
        mix_norm: MixNorm | None = None,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        mix_norm = mix_norm or architecture.mix_norm
        architecture.require_sizes(img_size, num_classes, in_chans)
        self.architecture = architecture
        self.img_size, self.num_classes, self.in_chans, self.mix_norm = img_size, num_classes, in_chans, mix_norm
        dim = self.num_features = self.embed_dim = architecture.embed_dim
        self.patch_embed = STEMS[architecture.stem](architecture.patch_size, in_chans, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, (img_size // architecture.patch_size) ** 2 + 1, dim))
        self.pos_drop = nn.Dropout(drop_rate)
        depth = architecture.depth
        paths = [drop_path_rate * i / max(depth - 1, 1) for i in range(depth)]
        self.blocks = nn.ModuleList(
            Block(architecture, i, mix_norm, drop_rate, attn_drop_rate, paths[i]) for i in range(depth)
        )
        self.norm = nn.LayerNorm(dim, eps=architecture.norm_eps)
        self.head = nn.Linear(dim, num_classes)
        trunc_normal_(self.pos_embed, std=0.02)
        trunc_normal_(self.cls_token, std=0.02)
        self.apply(_init_linear)

    def no_weight_decay(self) -> set[str]:
        """Return the parameters that timm's optimizer factory leaves without weight decay."""
        return {"pos_embed", "cls_token"}

    def get_classifier(self) -> nn.Linear:
        return self.head

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the head by a freshly initialised one of `num_classes` outputs."""
        self.num_classes = num_classes
        self.head = nn.Linear(self.embed_dim, num_classes)
        _init_linear(self.head)

    def forward_tokens(self, images: torch.Tensor) -> torch.Tensor:
        """Return the last block's tokens (B, N + 1, dim), the class token first, before the final norm."""
        if images.shape[-2:] != (self.img_size, self.img_size):
            raise InputError(
                f"images are {images.shape[-2]}×{images.shape[-1]}, expected {self.img_size}×{self.img_size}"
            )
        x = self.patch_embed(images)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1)
        x = self.pos_drop(x + self.pos_embed)
        for block in self.blocks:
            x = block(x)
        return x

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the normalised tokens (B, N + 1, dim), as timm's models do; where the class token is pooled."""
        return self.norm(self.forward_tokens(images))

    def forward_head(self, tokens: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Return the logits of normalised tokens, or the class token (B, dim) with `pre_logits`."""
        return tokens[:, 0] if pre_logits else self.head(tokens[:, 0])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        # The final norm works token by token, so what is pooled is enough.
        return self.head(self.norm(pooled(self.forward_tokens(images), self.architecture.pooling)))


def pooled(tokens: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Return (B, C), what is classified of tokens (B, N, C), the class token first."""
    return tokens.mean(dim=1) if pooling is Pooling.MEAN else tokens[:, 0]


def create_deepvit(
    variant: Variant,
    *,
    img_size: int | None = None,
    num_classes: int | None = None,
    in_chans: int = 3,
    mix_norm: MixNorm | None = None,
    **drop_rates: float,
) -> DeepViT:
    """Build `variant`, initialised as the original does for training, with the variant's sizes where none is given.

    Args:
        variant: The row of the table.
        img_size: Side of the images.
        num_classes: Width of the classifier.
        in_chans: Image channels.
        mix_norm: The norm of re-attention, where not the variant's.
        drop_rates: `drop_rate`, `attn_drop_rate`, `drop_path_rate` of `DeepViT`.
    """
    return DeepViT(
        variant.architecture,
        img_size=variant.img_size if img_size is None else img_size,
        num_classes=variant.num_classes if num_classes is None else num_classes,
        in_chans=in_chans,
        mix_norm=mix_norm,
        **drop_rates,
    )


def allocate(model: DeepViT) -> DeepViT:
    """Give a model that was built on the meta device memory on the CPU, for weights that are about to be set.

    Initial values, which would be replaced at once, take seconds to draw.
    """
    model.to_empty(device="cpu")
    for name, buffer in model.named_buffers():
        if name.endswith("num_batches_tracked"):  # checkpoints may lack it
            buffer.zero_()
    return model


def _init_linear(module: nn.Module) -> None:
    """Initialise as the original: truncated normal of standard deviation 0.02, zero bias."""
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
