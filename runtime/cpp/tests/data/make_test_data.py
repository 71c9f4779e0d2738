"""Write what the C++ tests compare with: small artifacts, images of every kind, and what Python makes of them."""

import argparse
import contextlib
import functools
import hashlib
import json
import pathlib
import shutil
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
from PIL import Image

from deepvit.calibration.options import QuantizationOptions
from deepvit.export.graph.onnx_file import identify
from deepvit.export.graph.proof.logits import graph_session
from deepvit.export.options import ExportOptions, GraphOptions, Target
from deepvit.export.pipeline import export_artifact
from deepvit.export.record import golden_answer
from deepvit.model import create_deepvit
from deepvit.model.architecture import Architecture
from deepvit.model.load import LoadedModel
from deepvit.model.row import Variant
from deepvit.model.weights.random import randomize

from .... import crop_image, open_artifact, open_session
from ....artifact import record_file
from ....artifact.manifest import BatchRange, InputForm, Precision, Weights
from ....preprocess import Crop, Preprocessing
from .image_kinds import write_images

IMAGES = 300
OTHER_PREPROCESSING = {  # artifact → what its manifest says instead; the model stays
    "bilinear": {"interpolation": "bilinear"},
    "nearest": {"interpolation": "nearest", "resize": 300},
    "lanczos": {"interpolation": "lanczos", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    "padded": {"resize": 199},
    "squeezed": {"resize": 225},
}
NAMES = ["crane", "crane", "wood rabbit, cottontail", "中国", "é", "five", "six", "seven", "eight", "nine"]
SMALL = Variant(
    name="small",
    architecture=Architecture(depth=2, embed_dim=24, reattention_blocks=1, num_heads=2, patch_size=32),
    parameters=0,
    top1=None,
    num_classes=10,
)


FORMS: dict[str, dict[str, Any]] = {  # artifact → how its graph is written; BF16 is refused, "small" is FP32
    "small": {"precision": Precision.FP32},
    "uint8": {"precision": Precision.FP32, "input_form": InputForm.UINT8},
    "fp16": {"precision": Precision.FP16},
    "bf16": {"precision": Precision.BF16},
    "int8": {"precision": Precision.INT8},
    "int8-cpu": {"precision": Precision.INT8, "target": Target.CPU},
    "weight-only": {"precision": Precision.INT8, "weight_only": True},
    "fp8": {"precision": Precision.FP8},
    "fp8-attention": {"precision": Precision.FP8, "attention": True},
}


def export_small(folder: pathlib.Path, form: dict[str, Any]) -> None:
    """Export the small model with random weights, in one of FORMS."""
    weights = Weights(source="random", sha256="0" * 64, seed=0)
    model = LoadedModel(variant=SMALL, module=randomize(create_deepvit(SMALL)), weights=weights)
    of_quantization = {"weight_only", "attention"} & form.keys()
    of_graph = {"target": Target.ONNX} | {name: form[name] for name in form.keys() - of_quantization}
    graph = GraphOptions(batch=BatchRange(min=1, opt=4, max=8), **of_graph)
    quantization = QuantizationOptions(**{name: form[name] for name in of_quantization})
    export_artifact(model, ExportOptions(graph=graph, quantization=quantization, parity_images=4, output=folder))


def write_fusable(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copy a weight-only artifact as it was written before ONNX Runtime was kept from fusing it: axis 1 for −1."""
    copy_artifact(source, target)
    model = onnx.load(target / "model.onnx")
    restored = [node for node in model.graph.node if node.op_type == "DequantizeLinear"]
    for axis in (attribute for node in restored for attribute in node.attribute if attribute.name == "axis"):
        axis.i = 1
    onnx.save(model, target / "model.onnx")
    rehash(target)


@functools.cache
def cropped(image: pathlib.Path, preprocessing: Preprocessing) -> Crop:
    """Return what an artifact of this preprocessing crops of an image."""
    return crop_image(image, preprocessing)


def copy_artifact(source: pathlib.Path, target: pathlib.Path, **changes: Any) -> None:
    """Copy an artifact with other fields in its manifest."""
    shutil.copytree(source, target)
    manifest = json.loads((source / "manifest.json").read_text())
    manifest.update(changes)
    (target / "manifest.json").write_text(json.dumps(manifest))


def seal(artifact: pathlib.Path) -> None:
    """Make graph, golden logits and hashes those of the manifest as it is, as an export would."""
    manifest, model = open_artifact(artifact).manifest, onnx.load(artifact / "model.onnx")
    identify(model, manifest)
    onnx.save(model, artifact / "model.onnx")
    with contextlib.closing(graph_session(model, "the graph")) as session:
        golden = golden_answer(manifest, session)
    (artifact / "manifest.json").write_text(manifest.model_copy(update={"golden": golden}).to_json())
    rehash(artifact)


def write_dark_artifact(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copy an artifact whose logits are NaN for dark images alone: 0 · √(mean + 0.9), means being in [−1, 1]."""
    copy_artifact(source, target)
    model = onnx.load(target / "model.onnx")
    graph, helper = model.graph, onnx.helper
    output, images = graph.output[0].name, graph.input[0].name
    (last,) = [node for node in graph.node if output in node.output]
    last.output[list(last.output).index(output)] = "finite"
    constants = {"axes": np.array([1, 2, 3], np.int64), "lift": np.float32(0.9), "none": np.float32(0)}
    graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(v), f"dark.{k}") for k, v in constants.items())
    graph.node.extend(
        [
            helper.make_node("ReduceMean", [images, "dark.axes"], ["dark.mean4"], keepdims=0),
            helper.make_node("Add", ["dark.mean4", "dark.lift"], ["dark.lifted"]),
            helper.make_node("Sqrt", ["dark.lifted"], ["dark.root"]),
            helper.make_node("Mul", ["dark.root", "dark.none"], ["dark.poison"]),
            helper.make_node("Unsqueeze", ["dark.poison", "dark.last"], ["dark.column"]),
            helper.make_node("Add", ["finite", "dark.column"], [output]),
        ]
    )
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([1], np.int64), "dark.last"))
    onnx.save(model, target / "model.onnx")
    rehash(target)


def rehash(artifact: pathlib.Path) -> None:
    """Make the manifest name the hashes of the files as they are."""
    manifest = json.loads((artifact / "manifest.json").read_text())
    manifest["files"] = {
        path.name: record_file(path).model_dump() for path in sorted(artifact.glob("*")) if path.name != "manifest.json"
    }
    (artifact / "manifest.json").write_text(json.dumps(manifest))


def write_engine_artifact(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copy an artifact with a plan that no TensorRT wrote; what its manifest says of it is well-formed.

    The tests' TensorRT computes something of its own, so that any golden logits will do.
    """
    golden = json.loads((source / "manifest.json").read_text())["golden"] | {"sqnr_db": -1000}
    batch = {"min": 1, "opt": 4, "max": 8}
    engine = {"file": "engine.plan", "backend": "tensorrt", "version": "11.4.0.106", "compute_capability": "9.0"}
    rest: dict[str, Any] = {"gpu": None, "driver": None, "profile": batch, "census": {"network": {}}}
    copy_artifact(source, target, engines=[engine | rest], golden=golden)
    (target / "engine.plan").write_bytes(b"ftrt" + bytes(1000))
    rehash(target)


def answers(artifact: pathlib.Path, images: list[pathlib.Path]) -> list[dict[str, Any]]:
    """Return the crop's hash and the logits of every image, as the Python runtime computes them, one by one."""
    manifest = open_artifact(artifact).manifest
    session = open_session(artifact, "cpu", threads=1)
    records = []
    for image in images:
        crop = cropped(image, manifest.preprocess)
        logits = session.run(manifest.input_from(crop[None]))[0]
        digest = hashlib.sha256(crop.tobytes()).hexdigest()
        records.append({"image": image.name, "crop_sha256": digest, "logits": logits.tolist()})
    return records


def write_data(folder: pathlib.Path, count: int = IMAGES) -> None:
    """Write everything into `folder`, which must not exist, with `count` images."""
    artifacts = folder / "artifacts"
    images = write_images(folder / "images", count)
    for name, form in FORMS.items():
        export_small(artifacts / name, form)
    write_fusable(artifacts / "weight-only", artifacts / "fusable")
    preprocess = json.loads((artifacts / "small" / "manifest.json").read_text())["preprocess"]
    for name, changes in OTHER_PREPROCESSING.items():
        copy_artifact(artifacts / "small", artifacts / name, preprocess=preprocess | changes)
        seal(artifacts / name)
    expected = {"small": answers(artifacts / "small", images)}
    for name in sorted({*FORMS, "fusable", *OTHER_PREPROCESSING} - {"small", "bf16"}):
        expected[name] = answers(artifacts / name, images[::5])
    write_dark_artifact(artifacts / "small", artifacts / "dark")
    Image.new("RGB", (300, 300)).save(folder / "dark.png")
    copy_artifact(artifacts / "small", artifacts / "named", class_names=NAMES)
    seal(artifacts / "named")
    write_engine_artifact(artifacts / "small", artifacts / "engine")
    (folder / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    write_data(parser.parse_args().folder)
