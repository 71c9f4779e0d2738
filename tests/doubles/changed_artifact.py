"""Artifacts whose files are another model's, with or without the hashes that say so."""

import json
import pathlib

import numpy as np
import onnx
import onnx.numpy_helper

from deepvit.runtime.artifact import MANIFEST, MODEL, record_file


def replace_weights(path: pathlib.Path) -> None:
    """Turn the largest weight matrix of an ONNX file around, as if the file were another model's."""
    model = onnx.load(path)
    largest = max(model.graph.initializer, key=lambda tensor: int(np.prod(tensor.dims)))
    flipped = np.flip(onnx.numpy_helper.to_array(largest)).copy()
    largest.CopyFrom(onnx.numpy_helper.from_array(flipped, largest.name))
    onnx.save(model, path)


def forget_identity(artifact: pathlib.Path) -> None:
    """Take out what ties an artifact's graph to its manifest, as an earlier version exported it."""
    model = onnx.load(artifact / MODEL)
    del model.metadata_props[:]
    onnx.save(model, artifact / MODEL)
    manifest = json.loads((artifact / MANIFEST).read_text())
    del manifest["golden"]
    (artifact / MANIFEST).write_text(json.dumps(manifest))
    rehash_artifact(artifact)


def shift_mean(artifact: pathlib.Path) -> None:
    """Let the manifest say another mean than the graph was exported for."""
    manifest = json.loads((artifact / MANIFEST).read_text())
    manifest["preprocess"]["mean"] = [0.9, 0.9, 0.9]
    (artifact / MANIFEST).write_text(json.dumps(manifest))


def rehash_artifact(artifact: pathlib.Path) -> None:
    manifest = json.loads((artifact / MANIFEST).read_text())
    manifest["files"] = {name: record_file(artifact / name).model_dump() for name in manifest["files"]}
    (artifact / MANIFEST).write_text(json.dumps(manifest))
