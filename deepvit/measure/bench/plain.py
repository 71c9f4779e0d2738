"""The model as PyTorch alone exports it, and as ONNX Runtime's own tool quantises that: to measure ours against."""

import pathlib
import tempfile
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from deepvit.images.samples import bundled_samples, crops_of
from deepvit.runtime.errors import needed_for
from deepvit.runtime.ort.rounding import load_model
from deepvit.runtime.preprocess import model_input

from .inputs import preprocessing_of

if TYPE_CHECKING:
    from deepvit.model.load import LoadedModel

PLAIN_OPSET = 20


def plain_export(loaded: "LoadedModel") -> bytes:
    """Return what torch.onnx.export alone makes of the model, its operations in the original's order.

    Raises:
        MissingError: onnxscript is not installed, which it needs.
    """
    with needed_for("a plain ONNX export"):
        import onnxscript  # noqa: F401 - PyTorch loads it in the middle of the export
        import torch

    from deepvit.model.rewrites.original_order import original_style

    size, channels = loaded.module.img_size, loaded.module.in_chans
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            original_style(loaded.module).eval(),
            (torch.zeros(2, channels, size, size),),
            dynamo=True,
            opset_version=PLAIN_OPSET,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
            input_names=["images"],
            output_names=["logits"],
            verbose=False,
        )
    assert program is not None
    return bytes(program.model_proto.SerializeToString())


def plain_int8(content: bytes) -> bytes:
    """Return a plain export with its products in INT8 as ONNX Runtime's own tool writes them: unsigned activations.

    Ranges are the extremes on the bundled photographs.
    """
    from onnxruntime import quantization

    images = load_model(content).graph.input[0]
    channels, side = (dimension.dim_value for dimension in images.type.tensor_type.shape.dim[1:3])
    preprocessing = preprocessing_of(side)
    crops = crops_of(bundled_samples(), preprocessing)
    batches = iter(np.split(model_input(crops, preprocessing, channels), len(crops)))

    class Photographs(quantization.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            batch = next(batches, None)
            return None if batch is None else {images.name: batch}

    with tempfile.TemporaryDirectory() as name:
        source, target = pathlib.Path(name) / "plain.onnx", pathlib.Path(name) / "int8.onnx"
        source.write_bytes(content)
        quantization.quantize_static(
            source,
            target,
            Photographs(),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["MatMul", "Gemm"],
        )
        return target.read_bytes()
