"""Who makes a tensor, and who reads it."""

from onnx import helper

from deepvit.calibration.graph_links import makers, readers


def test_makers_and_readers_of_a_small_graph():
    split = helper.make_node("Split", ["x"], ["left", "right"], "split")
    square = helper.make_node("Mul", ["left", "left"], ["square"], "square")
    total = helper.make_node("Add", ["square", "right"], ["sum"], "total")
    graph = helper.make_graph([split, square, total], "small", [], [])
    assert {tensor: node.name for tensor, node in makers(graph).items()} == {
        "left": "split", "right": "split", "square": "square", "sum": "total",
    }  # fmt: skip
    assert {tensor: [node.name for node in nodes] for tensor, nodes in readers(graph).items()} == {
        "x": ["split"], "left": ["square", "square"], "right": ["total"], "square": ["total"],
    }  # fmt: skip
