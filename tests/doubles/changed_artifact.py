"""Artifacts whose files are another model's, with or without the hashes that say so."""

import json
import pathlib

import numpy as np
import onnx
import onnx.numpy_helper

from deepvit.runtime.artifact import MANIFEST, record_file


def replace_weights(path: pathlib.Path) -> None:
    """Turn the largest weight matrix of an ONNX file around, as if the file were another model's."""
    model = onnx.load(path)
    largest = max(model.graph.initializer, key=lambda tensor: int(np.prod(tensor.dims)))
    flipped = np.flip(onnx.numpy_helper.to_array(largest)).copy()
    largest.CopyFrom(onnx.numpy_helper.from_array(flipped, largest.name))
    onnx.save(model, path)


def rehash_artifact(artifact: pathlib.Path) -> None:
    manifest = json.loads((artifact / MANIFEST).read_text())
    manifest["files"] = {name: record_file(artifact / name).model_dump() for name in manifest["files"]}
    (artifact / MANIFEST).write_text(json.dumps(manifest))
