"""Images through the float32 graph: the ranges of its activations."""
