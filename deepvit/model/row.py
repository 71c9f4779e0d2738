"""What a row of the table of variants says."""

import dataclasses
import enum
import math
from typing import Literal

from deepvit.runtime.preprocess import Preprocessing

from .architecture import Architecture

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]


class Layout(enum.Enum):
    """Whose names and shapes the weights of a checkpoint have."""

    ORIGINAL = "original"
    VIT_PYTORCH = "vit-pytorch"  # which say the architecture, too


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
        """Whether the row is a model of the paper, not one of our small models."""
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
