"""What a graph says of its padded tokens: masks tell real ones from padding, or an operator; the export writes them."""

import numpy as np
import onnx

REATTENTION, TOKENS = "ReAttention", "tokens"  # an operator in place of masks, and how many tokens it takes for keys
KEY_MASK = "key_mask"  # how the names of masks end: 0 for real tokens, something large and negative for padding


def real_tokens(graph: onnx.GraphProto) -> int | None:
    """Return how many tokens of a graph are real; None where nothing says it, as in one without padding."""
    for node in graph.node:
        if node.op_type == REATTENTION:
            return next(int(attribute.i) for attribute in node.attribute if attribute.name == TOKENS)
    mask = next((constant for constant in graph.initializer if constant.name.endswith(KEY_MASK)), None)
    return None if mask is None else int(np.count_nonzero(onnx.numpy_helper.to_array(mask) == 0))
