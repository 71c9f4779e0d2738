"""Run one node ReAttention in ONNX Runtime on the CPU with the operator's library, and print what became of it, JSON.

usage: operator_session.py LIBRARY NUMBER HEADS WIDTH TOKENS STORED QUERIES BATCH; LIBRARY is "" for the node's body.
"""

import json
import sys

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

from deepvit.export.graph.reattention.operator import INPUTS, add_operator, reattention_node
from deepvit.runtime.ort.graph import ORT_ERRORS

TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}


def shapes_of(heads, width, stored, batch):
    return {
        "qkv": (batch, stored, 3, heads, width), "theta": (heads, heads), "bias": (heads,), "channels": (3, heads, width)
    }  # fmt: skip


def model_of(number, heads, width, tokens, stored, queries):
    """The node between casts, so that what goes in and comes out is float32."""
    shapes = shapes_of(heads, width, stored, "B")
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in INPUTS]
    nodes = [
        helper.make_node("Cast", ["qkv"], ["narrow"], to=TYPES[number]),
        reattention_node("node", ["narrow", *INPUTS[1:]], "out", scale=0.5, tokens=tokens, queries=queries),
        helper.make_node("Cast", ["out"], ["wide"], to=TensorProto.FLOAT),
    ]
    output = helper.make_tensor_value_info("wide", TensorProto.FLOAT, None)
    model = helper.make_model(
        helper.make_graph(nodes, "one", inputs, [output]), opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    )
    add_operator(model)
    return model.SerializeToString()


def main(library, number, *sizes):
    heads, width, tokens, stored, queries, batch = map(int, sizes)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        if library:
            options.register_custom_ops_library(library)
        session = ort.InferenceSession(
            model_of(number, heads, width, tokens, stored, queries), options, providers=["CPUExecutionProvider"]
        )
        random = np.random.default_rng(0)
        shapes = shapes_of(heads, width, stored, batch).items()
        feeds = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes}
        out = session.run(None, feeds)[0]
    except ORT_ERRORS as error:
        return {"error": str(error)}
    first = {name: float(each.flat[0]) for name, each in feeds.items()}
    return {"shape": out.shape, "first": float(out.flat[0]), "feeds": first}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
