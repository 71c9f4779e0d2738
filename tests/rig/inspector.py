"""The engine inspector's JSON of layers, as TensorRT 10 and 11 write it."""

import json

FORMATS = {
    "FLOAT": "FP32",
    "HALF": "FP16",
    "INT8": "Int8",
    "INT32": "Int32",
    "INT64": "Int64",
    "FP8": "FP8",
    "BF16": "BF16",
}
DATATYPES = {
    "FLOAT": "Float",
    "HALF": "Half",
    "INT8": "Int8",
    "INT32": "Int32",
    "INT64": "Int64",
    "FP8": "FP8",
    "BF16": "BFloat16",
}


def inspector_json(layers, major=11):
    """The JSON in which an inspector of that major version tells `layers`."""
    records = [
        {
            "Name": layer.name, "LayerType": layer.kind, "TacticName": layer.tactic,
            "Inputs": _tensors(layer.inputs, major), "Constants": _tensors(layer.constants, major),
            "Outputs": _tensors(layer.outputs, major), "StreamId": 0,
            "Metadata": "\x1e".join(f"[ONNX Layer: {name}]" for name in layer.onnx),
        }
        for layer in layers
    ]  # fmt: skip
    ends = {"Bindings": ["images", "logits"]} if major > 10 else {"I/O Tensors": []}
    return json.dumps({"Layers": records} | ends)


def _tensors(tensors, major):
    return [
        {"Name": tensor.name, "Dimensions": list(tensor.dimensions)}
        | (
            {"Format": "kLINEAR", "Datatype": DATATYPES[tensor.type]}
            if major > 10
            else {"Format/Datatype": f"Row major linear {FORMATS[tensor.type]} format"}
        )
        for tensor in tensors
    ]
