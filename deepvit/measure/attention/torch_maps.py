"""Attention maps of a model in PyTorch."""

import numpy as np
import torch

from deepvit.model.attention import ReAttention
from deepvit.model.network import Block, DeepViT
from deepvit.runtime.session.tensors import Images

from .analysis import AttentionMaps


class TorchMaps:
    """Maps of a model in PyTorch, in its own floating type."""

    def __init__(self, module: DeepViT) -> None:
        self._module = module.eval()
        self.description = f"PyTorch {torch.__version__} cpu"

    @torch.inference_mode()
    def maps(self, image: Images) -> AttentionMaps:
        """See `MapSource.maps`."""
        module = self._module
        before, after, features = [], [], []

        def note(block: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            assert isinstance(block, Block)
            attn = block.attn
            q, k, _ = attn.split_heads(block.norm1(inputs[0] * block.scale_adjustment))
            maps = attn.attention_maps(q, k)
            before.append(maps[0].numpy())
            after.append(attn.reattend(maps)[0].numpy() if isinstance(attn, ReAttention) else before[-1])
            features.append(output[0].numpy())

        hooks = [block.register_forward_hook(note) for block in module.blocks]
        try:
            module(torch.from_numpy(np.asarray(image)).to(module.cls_token.dtype))
        finally:
            for hook in hooks:
                hook.remove()
        return AttentionMaps(
            before=np.stack(before),
            after=np.stack(after),
            features=np.stack(features),
            reattends=tuple(isinstance(block.attn, ReAttention) for block in module.blocks),
        )
