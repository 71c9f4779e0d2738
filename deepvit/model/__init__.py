"""The PyTorch reference of DeepViT. The table of variants loads no PyTorch: that is loaded where a network is made.

Importing `deepvit.model.registry` registers every variant with timm.
"""

from typing import TYPE_CHECKING, Any

from .row import Variant
from .variants import VARIANTS, find_variant

if TYPE_CHECKING:
    from .network import DeepViT, create_deepvit

__all__ = ["VARIANTS", "DeepViT", "Variant", "create_deepvit", "find_variant"]


def __getattr__(name: str) -> Any:
    if name not in ("DeepViT", "create_deepvit"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import network

    return getattr(network, name)
