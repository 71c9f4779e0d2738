"""What an export can be asked for."""

from .choices import FOR_TENSORRT, QUANTIZED, Reattention, Target, batch_from_text
from .export import ExportOptions, require_attention
from .graph import GraphOptions

__all__ = [
    "FOR_TENSORRT",
    "QUANTIZED",
    "ExportOptions",
    "GraphOptions",
    "Reattention",
    "Target",
    "batch_from_text",
    "require_attention",
]
