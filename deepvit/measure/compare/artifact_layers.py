"""`compare --layers`: which graphs and engines are compared on which images, and what came of it."""

import pathlib

import numpy as np

from deepvit.export.graph.spec import spec_from_manifest
from deepvit.images.samples import default_images, parity_crops
from deepvit.progress import Progress
from deepvit.runtime.artifact import Artifact
from deepvit.runtime.artifact.manifest import Precision
from deepvit.runtime.errors import InputError, needed_for
from deepvit.runtime.opening import artifact_of, engine_here, proved_model
from deepvit.runtime.preprocess import FILES, DecodePolicy
from deepvit.runtime.session.tensors import Images

from ..models import load_weights_of
from ..options import WeightOptions
from .layers import compare_engine_layers, compare_layers
from .result import LayerReport, steepest_fall


def report_layers(
    artifact: Artifact,
    reference: pathlib.Path | None,
    weights: WeightOptions,
    imagenet: str | None,
    count: int | None,
    progress: Progress,
    policy: DecodePolicy = FILES,
) -> LayerReport:
    """Compare an artifact with float32 at every block.

    Args:
        artifact: One of reduced precision.
        reference: A float32 artifact of the same model; where None, one is exported from the weights.
        weights: Where those come from.
        imagenet: The images; the bundled ones where None.
        count: How many of them; by their size where None.
        progress: Called with each step as it begins.
        policy: Which images are decoded.

    Raises:
        InputError: Not a reduced precision, not its reference, or no images; or a graph is not what its manifest says.
        MissingError: PyTorch is not installed, and no reference given.
    """
    manifest = artifact.manifest
    if manifest.precision is Precision.FP32:
        raise InputError(f"{artifact.folder} is float32 itself; give an fp16 or bf16 artifact")
    proved_model(artifact)
    count = count or default_images(manifest.preprocess.crop)
    crops = parity_crops(imagenet, count, manifest.preprocess, policy)
    if isinstance(fixed := manifest.input.shape[0], int):  # the graph takes no other number
        crops = crops[np.arange(fixed) % len(crops)]
    images: Images = manifest.input_from(crops)
    if reference is None:
        progress("exporting the float32 graph")
        loaded = load_weights_of(manifest, weights)
        with needed_for("exporting the float32 graph"):
            from deepvit.export.graph.float32 import float32_onnx
        expected = float32_onnx(loaded, spec_from_manifest(manifest), crops)
    else:
        expected = _reference(reference, artifact)
    progress(f"comparing every block on {len(images)} images")
    graph = compare_layers(artifact, expected, images)
    plan = engine_here(artifact, allow_host_code=False)
    engine = None
    if plan is not None:
        progress("building an engine with every block's output")
        engine = compare_engine_layers(artifact, artifact.engine(plan), expected, images, lambda _phase, _share: None)
    return LayerReport(
        artifact=str(artifact.folder),
        precision=manifest.precision,
        random_weights=manifest.has_random_weights,
        images=len(images),
        graph=graph,
        engine=engine,
        steepest_fall=steepest_fall(graph),
    )


def _reference(path: pathlib.Path, artifact: Artifact) -> bytes:
    reference = artifact_of(path)
    precision, weights = reference.manifest.precision, reference.manifest.weights.sha256
    expected = artifact.manifest.weights.sha256
    if precision is not Precision.FP32 or weights != expected:
        raise InputError(
            f"‹reference› {path} is {precision.value} with weights {weights[:16]}…; expected fp32 with {expected[:16]}…"
        )
    return proved_model(reference)
