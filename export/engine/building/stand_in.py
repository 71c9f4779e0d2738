"""A layer in the place of the plugin's, of the same contract, that computes nothing: what is around it can be compiled.

For listing the kernels of a graph with fused re-attention on any machine. An engine that was built with it cannot run.
"""

import os
import pathlib
from typing import Any

import numpy as np

from deepvit.runtime.trt.library import rtx_library

from ...graph.reattention.operator import DOMAIN, INPUTS, OPERATOR, VERSION

FIELDS = {"scale": np.float32, "tokens": np.int32, "queries": np.int32}
LINK = "libtensorrt_rtx.so"  # the parser opens its library by this name where it meets a plugin
_registered: list[Any] = []  # TensorRT does not hold what Python made


def search_path(folder: pathlib.Path) -> dict[str, str]:
    """Return the variables of a process in which TensorRT-RTX's parser finds its library; a link goes into `folder`."""
    (folder / LINK).symlink_to(rtx_library())
    paths = filter(None, [str(folder), os.environ.get("LD_LIBRARY_PATH")])
    return {"LD_LIBRARY_PATH": os.pathsep.join(paths)}


def register_stand_in(trt: Any) -> None:
    """Let TensorRT's parser find a layer for `deepvit::ReAttention`."""
    layer = _layer_of(trt)

    class Creator(trt.IPluginCreatorV3One):  # type: ignore[misc]  # the base is known at run time only
        def __init__(self) -> None:
            trt.IPluginCreatorV3One.__init__(self)
            self.name, self.plugin_version, self.plugin_namespace = OPERATOR, str(VERSION), DOMAIN
            self.field_names = trt.PluginFieldCollection(_fields(trt, {}))

        def create_plugin(self, _name: str, fields: Any, _phase: Any) -> Any:
            return layer({field.name: field.data[0].item() for field in fields})

    _registered.append(Creator())
    trt.get_plugin_registry().register_creator(_registered[-1], DOMAIN)


def _fields(trt: Any, values: dict[str, float]) -> list[Any]:
    kinds = {np.float32: trt.PluginFieldType.FLOAT32, np.int32: trt.PluginFieldType.INT32}
    return [
        trt.PluginField(name, np.array([values[name]] if values else [], kind), kinds[kind])
        for name, kind in FIELDS.items()
    ]


def _layer_of(trt: Any) -> Any:
    """Return the layer's class."""
    bases = (trt.IPluginV3, trt.IPluginV3OneCore, trt.IPluginV3OneBuild, trt.IPluginV3OneRuntime)

    class Layer(*bases):  # type: ignore[misc]  # likewise
        def __init__(self, values: dict[str, float]) -> None:
            for base in bases:
                base.__init__(self)
            self.values, self.num_outputs = values, 1
            self.plugin_name, self.plugin_version, self.plugin_namespace = OPERATOR, str(VERSION), DOMAIN

        def get_capability_interface(self, _kind: Any) -> Any:
            return self

        def clone(self) -> Any:
            return Layer(self.values)

        def get_output_data_types(self, types: list[Any]) -> list[Any]:
            return types[:1]

        def get_output_shapes(self, inputs: list[Any], _shapes: list[Any], builder: Any) -> list[Any]:
            output = trt.DimsExprs(3)
            output[0], output[1] = inputs[0][0], builder.constant(int(self.values["queries"]))
            output[2] = builder.operation(trt.DimensionOperation.PROD, inputs[0][3], inputs[0][4])
            return [output]

        def supports_format_combination(self, position: int, tensors: list[Any], _inputs: int) -> bool:
            own, qkv = tensors[position].desc, tensors[0].desc
            halves = (trt.DataType.HALF, trt.DataType.BF16)
            is_typed = (
                own.type == qkv.type in halves if position in (0, len(INPUTS)) else own.type == trt.DataType.FLOAT
            )
            return bool(own.format == trt.TensorFormat.LINEAR and is_typed)

        def configure_plugin(self, _inputs: list[Any], _outputs: list[Any]) -> None:
            """Take every shape."""

        def on_shape_change(self, _inputs: list[Any], _outputs: list[Any]) -> None:
            """Take every shape."""

        def attach_to_context(self, _context: Any) -> Any:
            return self.clone()

        def get_fields_to_serialize(self) -> Any:
            return trt.PluginFieldCollection(_fields(trt, self.values))

        def enqueue(self, *_: Any) -> None:
            raise AssertionError("a stand-in was run")

    return Layer
