"""The PyTorch reference of DeepViT: importing it registers every variant with timm."""

from .network import DeepViT, create_deepvit
from .registry import register_variants
from .variants import VARIANTS, Variant, find_variant

register_variants()

__all__ = ["VARIANTS", "DeepViT", "Variant", "create_deepvit", "find_variant"]
