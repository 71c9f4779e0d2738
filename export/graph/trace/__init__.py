"""A module → an ONNX graph, of whatever weights its structure has."""

from .structure import onnx_from_module
from .weights import with_weights

__all__ = ["onnx_from_module", "with_weights"]
