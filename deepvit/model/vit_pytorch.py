"""The row of vit-pytorch's DeepViT, whose checkpoint says the architecture, and what that does not say."""

import dataclasses

from .architecture import Architecture, MixNorm, Pooling
from .row import Interpolation, Layout, Variant

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
