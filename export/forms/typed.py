"""A model's graph in any form, in its types, neither proved nor calibrated: to be compiled or timed, not kept."""

import onnx

from deepvit.calibration.observe.equalization import Equalization
from deepvit.calibration.options import QuantizationOptions
from deepvit.calibration.policy import activations_of, find_products, shifted_activations
from deepvit.calibration.ranges import Ranges, TensorRange
from deepvit.model.load import LoadedModel
from deepvit.runtime.artifact.manifest import Grid, Split

from ..graph.cast import in_types
from ..graph.float32 import unproved_graph
from ..options import ExportOptions
from ..quantized.calibrated import CalibratedGraph, typed_graph

NO_SHA256 = "0" * 64


def unproved_typed_graph(loaded: LoadedModel, options: ExportOptions) -> onnx.ModelProto:
    """Return the graph that an export with these options writes, but for its ranges: 1 stands for all of them.

    Neither ranges nor weights have a say in what a compiler makes of a graph, or in how long it runs.
    """
    graph, model = options.graph, unproved_graph(loaded, options.graph.spec)
    if graph.grid is None:
        return in_types(model, graph.rest, graph.reattention_form)
    quantization = options.quantization
    ranges = graph.grid if quantization.weight_only else stand_in_ranges(model, graph.grid, quantization)
    calibrated = CalibratedGraph(ranges=ranges, model=model, stages=(), images=None)
    return typed_graph(calibrated, options, ())


def stand_in_ranges(model: onnx.ModelProto, grid: Grid, options: QuantizationOptions) -> Ranges:
    """Return ranges from −1 to 1 for everything that is quantised, with the shifts that calibration would have."""
    products = find_products(model, attention=options.attention)
    one = TensorRange(low=-1, high=1, minimum=-1, maximum=1, quantiles={})
    shifted = one.model_copy(update={"shift": 0.5})
    tensors = dict.fromkeys(activations_of(products), one)
    if options.equalization_for(grid) is Equalization.SHIFT:
        tensors |= dict.fromkeys(shifted_activations(products, grid), shifted)
    channels = {v.name: v.type.tensor_type.shape.dim[-1].dim_value for v in model.graph.value_info}
    return Ranges(
        graph_sha256=NO_SHA256,
        grid=grid,
        method="max",
        images=1,
        list_sha256=NO_SHA256,
        split=Split.BUNDLED,
        seed=0,
        attention=options.attention,
        rescalings={},
        tensors=tensors,
        means={name: (0.0,) * channels[name] for name in tensors},
    )
