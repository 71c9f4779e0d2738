"""Attention maps of a model: from PyTorch, and from a graph that was exported with its maps as outputs."""

import re
from typing import Protocol

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from deepvit.measure.attention.analysis import AttentionMaps
from deepvit.model.attention import ReAttention
from deepvit.model.network import Block, DeepViT
from deepvit.runtime.artifact import MODEL, Artifact
from deepvit.runtime.errors import InputError
from deepvit.runtime.manifest import ATTENTION_MAPS
from deepvit.runtime.ort.graph import OnnxGraph
from deepvit.runtime.tensors import Images

from .onnx_graph import BATCH, finish

BEFORE, AFTER, FEATURES = "attention", "reattention", "features"  # outputs are called attention.0, attention.1, …


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
        InputError: It was not.
    """

    def __init__(self, artifact: Artifact, provider: str = "cpu") -> None:
        if ATTENTION_MAPS not in artifact.manifest.graph:
            raise InputError(
                f"{artifact.folder} does not give its attention maps; export it again with --attention-maps"
            )
        batch = artifact.manifest.batch
        name = str(artifact.folder / MODEL)
        self._graph = OnnxGraph(artifact.read(MODEL), name=name, provider=provider, batch=batch)
        self._least = batch.min
        self.description = self._graph.description

    def maps(self, image: Images) -> AttentionMaps:
        """See `MapSource.maps`."""
        input_name = next(iter(self._graph.inputs))
        found = self._graph.run({input_name: np.repeat(image, self._least, axis=0)})
        blocks = sum(name.startswith(f"{FEATURES}.") for name in found)
        before = np.stack([found[f"{BEFORE}.{index}"][0] for index in range(blocks)])
        reattends = tuple(f"{AFTER}.{index}" in found for index in range(blocks))
        after = [found[f"{AFTER}.{i}"][0] if mixes else before[i] for i, mixes in enumerate(reattends)]
        features = np.stack([found[f"{FEATURES}.{index}"][0] for index in range(blocks)])
        return AttentionMaps(before=before, after=np.stack(after), features=features, reattends=reattends)


def expose_maps(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a graph of any precision that gives its maps and features too, as float32.

    Added are `attention.i` (B, H, N, N), what leaves the softmax of block i; `reattention.i` (B, H, N, N), what
    multiplies the values there, where that is another tensor; and `features.i` (B, N, C). The graph must hold the whole
    maps of its last block and mixed maps with their bias, as GraphModule writes them for `Outputs.MAPS`.
    """
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    graph = exposed.graph
    shapes = {value.name: value for value in graph.value_info}
    for block in range(_count_blocks(graph)):
        before = _softmax_output(graph, block)
        after = _values_product(graph, block).input[0]
        _add_output(graph, shapes, before, f"{BEFORE}.{block}")
        if _undone(graph, after) != before:
            _add_output(graph, shapes, after, f"{AFTER}.{block}")
        _add_output(graph, shapes, _nodes(graph, rf"blocks\.{block}/Add(_\d+)?")[-1].output[0], f"{FEATURES}.{block}")
    return finish(exposed)


def _nodes(graph: onnx.GraphProto, pattern: str) -> list[onnx.NodeProto]:
    return [node for node in graph.node if re.fullmatch(pattern, node.name)]


def _count_blocks(graph: onnx.GraphProto) -> int:
    return len(_nodes(graph, r"blocks\.\d+\.attn/Softmax"))


def _softmax_output(graph: onnx.GraphProto, block: int) -> str:
    """Return the softmaxed maps as the rest of the graph reads them: after the cast, where there is one."""
    (softmax,) = _nodes(graph, rf"blocks\.{block}\.attn/Softmax")
    casts = [node for node in graph.node if node.op_type == "Cast" and node.input[0] == softmax.output[0]]
    return str((casts[0] if casts else softmax).output[0])


def _values_product(graph: onnx.GraphProto, block: int) -> onnx.NodeProto:
    """Return the product of the maps with the values: the last of attention that has no constant among its inputs."""
    constants = {initializer.name for initializer in graph.initializer}
    products = _nodes(graph, rf"blocks\.{block}\.attn/MatMul(_\d+)?")
    return [node for node in products if constants.isdisjoint(node.input)][-1]


def _undone(graph: onnx.GraphProto, name: str) -> str:
    """Return what was quantised and restored to `name`, or itself."""
    made_by = {output: node for node in graph.node for output in node.output}
    while name in made_by and made_by[name].op_type in ("QuantizeLinear", "DequantizeLinear"):
        name = made_by[name].input[0]
    return name


def _add_output(graph: onnx.GraphProto, shapes: dict[str, onnx.ValueInfoProto], source: str, name: str) -> None:
    shape = [dim.dim_value or BATCH for dim in shapes[source].type.tensor_type.shape.dim]
    graph.node.append(helper.make_node("Cast", [source], [name], f"{name}/Cast", to=TensorProto.FLOAT))
    graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
