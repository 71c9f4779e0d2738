"""Does the graph give an image the same logits whatever batch it is in? Run at 1, an odd number and the maximum."""

import numpy as np
import onnx

from deepvit.runtime.artifact.manifest import BatchRange
from deepvit.runtime.errors import OutOfBoundsError
from deepvit.runtime.ort.graph import Array, OnnxGraph
from deepvit.runtime.session.tensors import Images

from ..onnx_file import BATCH, INPUT, OUTPUT, to_bytes

ODD_BATCH = 3
# Above this size of all attention maps of one block, the largest batch runs through its ends alone.
MAX_MAP_BYTES = 64 << 20
FP32_BOUND_ABS = 1e-4  # of the largest value: kernels sum in another order in another batch size


def check_batches(model: onnx.ModelProto, images: Images, batch: BatchRange) -> None:
    """Hold an image's logits in batches of 1, 3 and `batch.max` against each other, as far as `batch` allows them.

    Every block has the same operations. Where the largest batch would take long, it runs through the embedding and
    through the last two blocks instead of through all; and in the whole graph every activation must have the dynamic
    batch as its first dimension, as shape inference sees it.

    Args:
        model: The float32 graph with inferred shapes.
        images: At least one image in the graph's own form.
        batch: The batch sizes promised.

    Raises:
        OutOfBoundsError: The batch is baked into the graph somewhere.
    """
    graph = OnnxGraph(to_bytes(model), name="the ONNX graph in float32")
    if batch.min == batch.max:
        _compare(graph, images[:1], [batch.max])
        return
    _require_symbolic_batch(model)
    small = sorted({batch.min, min(max(ODD_BATCH, batch.min), batch.max)})
    if _largest_activation_bytes(model) * batch.max <= MAX_MAP_BYTES:
        _compare(graph, images[:1], [*small, batch.max])
        return
    _compare(graph, images[:1], small)
    del graph  # gives its memory back before the largest batch needs it
    starts = [node.input[0] for node in model.graph.node if node.name.endswith(".norm1/LayerNormalization")]
    for inputs, outputs in (([INPUT], [starts[0]]), ([starts[-2]], [OUTPUT])):
        part = onnx.utils.Extractor(model).extract_model(inputs, outputs)
        _compare(OnnxGraph(to_bytes(part), name="a part of the graph"), images[:1], [small[0], batch.max])


def _compare(graph: OnnxGraph, image: Array, sizes: list[int]) -> None:
    """Run one image repeated to each size; a part that starts in the middle gets seeded activations instead."""
    (name, (_, shape)), (output, _) = next(iter(graph.inputs.items())), next(iter(graph.outputs.items()))
    if name != INPUT:
        inner = [dim for dim in shape[1:] if isinstance(dim, int)]
        image = np.random.default_rng(0).standard_normal((1, *inner), np.float32)
    expected = graph.run({name: image.repeat(sizes[0], axis=0)})[output][:1].astype(np.float64)
    for size in sizes[1:]:
        got = np.asarray(graph.run({name: image.repeat(size, axis=0)})[output], np.float64)
        worst = float(np.abs(got - expected).max()) if len(got) == size else np.inf
        if not worst <= FP32_BOUND_ABS * max(1.0, float(np.abs(expected).max())):
            raise OutOfBoundsError(
                f"an image in a batch of {size} differs from itself in one of {sizes[0]} by {worst:.3g}"
            )


def _require_symbolic_batch(model: onnx.ModelProto) -> None:
    """Refuse a graph in which the tokens of some block have a number for a batch."""
    tokens = {node.output[0] for node in model.graph.node if node.op_type == "LayerNormalization"}
    baked = [
        value.name
        for value in model.graph.value_info
        if value.name in tokens and not value.type.tensor_type.shape.dim[0].dim_param
    ]
    if baked:
        raise OutOfBoundsError(f"the batch size is baked into {', '.join(baked[:5])}, expected the dynamic {BATCH!r}")


def _largest_activation_bytes(model: onnx.ModelProto) -> int:
    """Return the bytes of one image's largest activation."""
    sizes = [
        np.prod([dim.dim_value for dim in value.type.tensor_type.shape.dim][1:], dtype=np.int64)
        for value in model.graph.value_info
        if value.type.tensor_type.shape.dim and value.type.tensor_type.shape.dim[0].dim_param
    ]
    return int(max(sizes, default=0)) * 4
