"""DeepViT from checkpoint to engine: the one name under which every package is imported."""

__version__ = "0.1.0"
