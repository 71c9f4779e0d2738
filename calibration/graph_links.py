"""How the nodes of an ONNX graph hang together: what makes a tensor, and what reads it."""

import onnx


def makers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """Return tensor → the node that makes it; inputs and constants are made by none."""
    return {name: node for node in graph.node for name in node.output}


def readers(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """Return tensor → the nodes that read it, in the graph's order, one twice that reads it twice."""
    reading: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            reading.setdefault(name, []).append(node)
    return reading
