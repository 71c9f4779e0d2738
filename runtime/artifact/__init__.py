"""An artifact: its folder, its manifest, and what an ONNX file says of itself before a library reads it."""

from .folder import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    MAX_MODEL_BYTES,
    MODEL,
    Artifact,
    open_artifact,
    record_file,
    record_files,
    staged_artifact,
)

__all__ = [
    "MANIFEST",
    "MAX_MANIFEST_BYTES",
    "MAX_MODEL_BYTES",
    "MODEL",
    "Artifact",
    "open_artifact",
    "record_file",
    "record_files",
    "staged_artifact",
]
