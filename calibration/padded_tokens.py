"""What a graph says of its padded tokens: its masks tell real ones from padding; the export writes them."""

import numpy as np
import onnx

KEY_MASK = "key_mask"  # how the names of masks end: 0 for real tokens, something large and negative for padding


def real_tokens(graph: onnx.GraphProto) -> int | None:
    """Return how many tokens of a padded graph are real; None for a graph without padding."""
    mask = next((constant for constant in graph.initializer if constant.name.endswith(KEY_MASK)), None)
    return None if mask is None else int(np.count_nonzero(onnx.numpy_helper.to_array(mask) == 0))
