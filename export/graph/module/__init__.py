"""A folded DeepViT as the module that is traced."""

from .attention import GraphAttention
from .network import GraphBlock, GraphModule, tokens_in

__all__ = ["GraphAttention", "GraphBlock", "GraphModule", "tokens_in"]
