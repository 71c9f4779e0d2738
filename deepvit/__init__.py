"""The PyTorch reference of DeepViT: importing it registers every variant with timm."""

from deepvit.model import DeepViT, create_deepvit
from deepvit.registry import register_variants
from deepvit.variants import VARIANTS, Variant, find_variant

register_variants()

__all__ = ["VARIANTS", "DeepViT", "Variant", "create_deepvit", "find_variant"]
