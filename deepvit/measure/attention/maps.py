"""Attention maps of a model in PyTorch, or of a graph that gives its own."""

from typing import Protocol

import numpy as np
import torch

from deepvit.export.graph.maps import AFTER, BEFORE, FEATURES
from deepvit.model.attention import ReAttention
from deepvit.model.network import Block, DeepViT
from deepvit.runtime.artifact import MODEL, Artifact
from deepvit.runtime.errors import InputError
from deepvit.runtime.ort.arithmetic import Arithmetic
from deepvit.runtime.ort.graph import OnnxGraph
from deepvit.runtime.session import prove_artifact
from deepvit.runtime.tensors import Images, padded_batch

from .analysis import AttentionMaps


class MapSource(Protocol):
    """What gives maps for an image."""

    @property
    def description(self) -> str:
        """What runs the model."""

    def maps(self, image: Images) -> AttentionMaps:
        """Return the maps for one image as the model takes it, (1, …)."""


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


class OnnxMaps:
    """Maps of an artifact that was exported with --attention-maps, as its own precision computes them.

    Raises:
        InputError: An artifact without maps, or whose graph is not what its manifest says.
    """

    def __init__(self, artifact: Artifact, provider: str = "cpu") -> None:
        if artifact.manifest.graph.attention_maps is None:
            raise InputError(
                f"{artifact.folder} does not give its attention maps; export it again with ‹attention_maps›"
            )
        prove_artifact(artifact)
        batch = artifact.manifest.batch
        name = str(artifact.folder / MODEL)
        self._graph = OnnxGraph(
            artifact.read(MODEL), name=name, provider=provider, arithmetic=Arithmetic.AS_DECLARED, batch=batch
        )
        self._least = batch.min
        self.description = self._graph.description

    def maps(self, image: Images) -> AttentionMaps:
        """See `MapSource.maps`."""
        input_name = next(iter(self._graph.inputs))
        outputs = self._graph.run({input_name: padded_batch(image, self._least)})
        blocks = sum(name.startswith(f"{FEATURES}.") for name in outputs)
        before = np.stack([outputs[f"{BEFORE}.{index}"][0] for index in range(blocks)])
        reattends = tuple(f"{AFTER}.{index}" in outputs for index in range(blocks))
        after = [outputs[f"{AFTER}.{i}"][0] if mixes else before[i] for i, mixes in enumerate(reattends)]
        features = np.stack([outputs[f"{FEATURES}.{index}"][0] for index in range(blocks)])
        return AttentionMaps(before=before, after=np.stack(after), features=features, reattends=reattends)
