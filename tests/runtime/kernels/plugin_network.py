"""A graph with one node ReAttention through a real parser and builder, on the rig.

usage: plugin_network.py class|body|LIBRARY|opened:LIBRARY [WIDTH]

Who computes the node is a layer's Python class of the contract, the node's own body, or a plugin's library. Prints what
became of it as JSON: layers, the plan's bytes, calls of the class, and the errors that TensorRT logged.
"""

import ctypes
import json
import os
import sys

import numpy as np
import onnx
import tensorrt as trt
from onnx import TensorProto, helper

from deepvit.runtime.artifact.manifest import Backend
from deepvit.runtime.kernels.plugin_record import VARIABLE
from deepvit.runtime.trt import plugin
from deepvit.runtime.trt.library import load_library

STORED, TOKENS, QUERIES, HEADS, WIDTH = 200, 197, 1, 12, 32
FIELDS = {"scale": np.float32(WIDTH**-0.5), "tokens": np.int32(TOKENS), "queries": np.int32(QUERIES)}


def graph(width=WIDTH):
    """qkv (batch, 200, 3, 12, width) in FP16 → the node, with a body → (batch, 1, 12·width)."""
    node = helper.make_node
    own = {name: value.item() for name, value in FIELDS.items()}
    own |= {"plugin_namespace": "deepvit", "plugin_version": "1"}
    body = helper.make_function(
        "deepvit", "ReAttention", ["qkv", "mix", "bias", "channels"], ["out"],
        [
            node("Split", ["qkv"], ["q0", "k0", "v0"], axis=2, num_outputs=3),
            node("Constant", [], ["two"], value_ints=[2]),
            *(node("Squeeze", [f"{each}0", "two"], [f"{each}1"]) for each in "qkv"),
            node("Constant", [], ["start"], value_ints=[0]),
            node("Constant", [], ["end"], value_ints=[TOKENS]),
            node("Constant", [], ["one"], value_ints=[1]),
            *(node("Slice", [f"{each}1", "start", "end", "one"], [f"{each}2"]) for each in "kv"),
            node("Slice", ["q1", "start", "one", "one"], ["q2"]),
            node("CastLike", ["channels", "qkv"], ["c"]),
            node("Split", ["c"], ["factor", "added", "out_factor"], axis=0, num_outputs=3),
            node("Mul", ["q2", "factor"], ["q4"]), node("Add", ["q4", "added"], ["q3"]),
            node("Transpose", ["q3"], ["q"], perm=[0, 2, 1, 3]),
            node("Transpose", ["k2"], ["k"], perm=[0, 2, 3, 1]),
            node("Transpose", ["v2"], ["v"], perm=[0, 2, 1, 3]),
            node("MatMul", ["q", "k"], ["scores"]), node("Softmax", ["scores"], ["maps"], axis=-1),
            node("CastLike", ["mix", "maps"], ["mix16"]),
            node("Einsum", ["mix16", "maps"], ["mixed"], equation="gh,bhqk->bgqk"),
            node("MatMul", ["mixed", "v"], ["o"]), node("Transpose", ["o"], ["o1"], perm=[0, 2, 1, 3]),
            node("Constant", [], ["flat"], value_ints=[0, 0, -1]), node("Reshape", ["o1", "flat"], ["out"]),
        ],
        [helper.make_opsetid("", 20)], list(own),
    )  # fmt: skip
    random = np.random.default_rng(0)
    shapes = {"mix": (HEADS, HEADS), "bias": (HEADS,), "channels": (3, HEADS, width)}
    weights = {name: random.standard_normal(shape) for name, shape in shapes.items()}
    constants = [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT16, ["batch", STORED, 3, HEADS, width]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT16, ["batch", QUERIES, HEADS * width]),
    ]
    nodes = [
        node("Neg", ["x"], ["qkv"]),
        node("ReAttention", ["qkv", *weights], ["a"], "attention", domain="deepvit", **own),
        node("Neg", ["a"], ["y"]),
    ]
    return helper.make_model(
        helper.make_graph(nodes, "g", ends[:1], ends[1:], constants),
        opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("deepvit", 1)],
        functions=[body],
        ir_version=10,
    )


calls = []


class Layer(trt.IPluginV3, trt.IPluginV3OneCore, trt.IPluginV3OneBuild, trt.IPluginV3OneRuntime):
    """The contract of runtime/cpp/plugin in Python, which computes nothing."""

    def __init__(self, **fields):
        for base in (trt.IPluginV3, trt.IPluginV3OneCore, trt.IPluginV3OneBuild, trt.IPluginV3OneRuntime):
            base.__init__(self)
        self.fields = fields
        self.plugin_name, self.plugin_version, self.plugin_namespace = "ReAttention", "1", "deepvit"
        self.num_outputs = 1

    def get_capability_interface(self, kind):
        return self

    def clone(self):
        return Layer(**self.fields)

    def get_output_data_types(self, types):
        calls.append(["types", *(each.name for each in types)])
        return types[:1]

    def get_output_shapes(self, inputs, shape_inputs, builder):
        output = trt.DimsExprs(3)
        output[0], output[1] = inputs[0][0], builder.constant(self.fields["queries"])
        output[2] = builder.operation(trt.DimensionOperation.PROD, inputs[0][3], inputs[0][4])
        return [output]

    def supports_format_combination(self, position, tensors, inputs):
        own = tensors[position].desc
        if own.format != trt.TensorFormat.LINEAR:
            return False
        if position == 0:
            return own.type in (trt.DataType.HALF, trt.DataType.BF16)
        return own.type == (tensors[0].desc.type if position == 4 else trt.DataType.FLOAT)

    def configure_plugin(self, inputs, outputs):
        calls.append(["configure", list(inputs[0].desc.dims), list(inputs[0].max), list(inputs[1].desc.dims)])

    def get_valid_tactics(self):
        return [16, 32]

    def set_tactic(self, tactic):
        calls.append(["tactic", tactic])

    def on_shape_change(self, inputs, outputs):
        pass

    def attach_to_context(self, context):
        return self.clone()

    def get_fields_to_serialize(self):
        return trt.PluginFieldCollection(fields_of(self.fields))

    def enqueue(self, *_):
        raise AssertionError("there is no GPU")


def fields_of(values):
    kinds = {np.float32: trt.PluginFieldType.FLOAT32, np.int32: trt.PluginFieldType.INT32}
    return [
        trt.PluginField(name, np.array([] if values is None else [values[name]], type(own)), kinds[type(own)])
        for name, own in FIELDS.items()
    ]


class Creator(trt.IPluginCreatorV3One):
    def __init__(self):
        super().__init__()
        self.name, self.plugin_version, self.plugin_namespace = "ReAttention", "1", "deepvit"
        self.field_names = trt.PluginFieldCollection(fields_of(None))

    def create_plugin(self, name, collection, phase):
        found = {each.name: each.data[0].item() for each in collection}
        calls.append(["create", found, phase.name])
        return Layer(**found)


class Log(trt.ILogger):
    def __init__(self):
        super().__init__()
        self.errors = []

    def log(self, severity, line):
        if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
            self.errors.append(line)


def main(who, width=WIDTH):
    log = Log()
    builder = trt.Builder(log)
    registry = trt.get_plugin_registry()
    if who == "class":
        registry.register_creator(Creator(), "deepvit")
    elif who.startswith("opened:"):
        ctypes.CDLL(who.partition(":")[2])  # as Triton's backend does
    elif who != "body":
        os.environ[VARIABLE] = who
        library = load_library(Backend.TENSORRT)
        plugin.load_named_plugin(library, "8.9")
        plugin.require_plugin(library, "the engine", compute_capability="8.9")
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if parser.parse(graph(width).SerializeToString()):
        config = builder.create_builder_config()
        profile = builder.create_optimization_profile()
        profile.set_shape("x", *((batch, STORED, 3, HEADS, width) for batch in (1, 8, 64)))
        config.add_optimization_profile(profile)
        plan = builder.build_serialized_network(network, config)
    else:
        plan = None
        log.errors += [str(parser.get_error(number)) for number in range(parser.num_errors)]
    layers = [network.get_layer(number).type.name for number in range(network.num_layers)]
    result = {"layers": layers, "plan": plan and plan.nbytes, "calls": calls, "errors": log.errors}
    if plan is not None:
        result["kept"] = [name for name in (*FIELDS, "kernels") if name.encode() in bytes(plan)]
    print(json.dumps(result), flush=True)
    os._exit(0)  # TensorRT outlives Python's own objects badly


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
