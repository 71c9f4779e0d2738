"""INT8 and FP8: the graph with Q/DQ, within its accuracy budget."""
