"""vit-pytorch's DeepViT as an artifact: as that package answers, its configuration and preprocessing kept."""

import contextlib

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from deepvit.calibration.options import QuantizationOptions
from deepvit.export.engine.building.process import build_engine
from deepvit.export.engine.building.worker import Job
from deepvit.export.engine.census import engine_breaches, require_network
from deepvit.export.engine.options import EngineOptions
from deepvit.export.graph.float32 import folds_of
from deepvit.export.graph.module import GraphModule
from deepvit.export.graph.spec import Outputs
from deepvit.export.options import ExportOptions, GraphOptions, Reattention, Target
from deepvit.export.pipeline import export_artifact
from deepvit.export.plan import plan_export, shape_of
from deepvit.images.samples import crops_of, parity_images
from deepvit.measure.attention.maps import OnnxMaps
from deepvit.measure.attention.torch_maps import TorchMaps
from deepvit.measure.bench.subjects import _peer_weights
from deepvit.measure.models import OpenedModel, load_weights_of, open_torch, preprocessing_breaches
from deepvit.measure.options import WeightOptions
from deepvit.metrics.bounds import FP32_BOUND
from deepvit.model.architecture import Pooling
from deepvit.model.rewrites.fold import fold
from deepvit.model.vit_pytorch import VIT_PYTORCH
from deepvit.runtime.artifact.manifest import InputForm, MixForm, Precision
from deepvit.runtime.errors import InputError
from deepvit.runtime.opening import open_session
from deepvit.runtime.preprocess import model_input
from tests.model.vit_pytorch_models import CONFIGS, model_of, state_of

CONFIG = CONFIGS["mean, odd heads"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("vit_pytorch") / "w.safetensors"
    save_file(state_of(model_of(CONFIG), CONFIG), path)
    return WeightOptions(checkpoint=str(path), pooling=Pooling.MEAN, std=(0.3, 0.2, 0.25), interpolation="bicubic")


def _export(weights, output, **options):
    graph = {key: value for key, value in options.items() if key not in ("imagenet", "quantization")}
    rest = {key: value for key, value in options.items() if key in ("imagenet", "quantization")}
    loaded = weights.load(VIT_PYTORCH.name)
    graph = GraphOptions(target=graph.pop("target", Target.ONNX), **graph)
    return export_artifact(loaded, ExportOptions(graph=graph, output=output, parity_images=4, **rest))


def _theirs(artifact):
    """What vit-pytorch answers for the images that proved the artifact, and those images as its graph takes them."""
    crops = crops_of(parity_images(None, 4), artifact.manifest.preprocess)
    preprocess = artifact.manifest.preprocess
    floats = model_input(crops, preprocess.model_copy(update={"layout": "NCHW"}), 3)
    with torch.inference_mode():
        return model_of(CONFIG)(torch.from_numpy(floats)).numpy(), model_input(crops, preprocess, 3)


@pytest.mark.parametrize(
    "options",
    [
        {"mix": MixForm.CONV, "pad_tokens": True},
        {"mix": MixForm.MATMUL, "input_form": InputForm.UINT8, "pad_tokens": True},
    ],
    ids=str,
)
def test_the_graph_answers_as_vit_pytorch(weights, tmp_path, options):
    artifact = _export(weights, tmp_path / "a", precision=Precision.FP32, **options)
    expected, images = _theirs(artifact)
    with contextlib.closing(open_session(artifact.folder)) as session:
        got = session.run(images)
    assert np.abs(got - expected).max() <= FP32_BOUND.max_abs


@pytest.fixture(scope="module")
def artifact(weights, tmp_path_factory):
    return _export(weights, tmp_path_factory.mktemp("fp16") / "a", pad_tokens=True)


def test_a_manifest_keeps_what_the_weights_do_not_say(weights, artifact):
    manifest = artifact.manifest
    assert manifest.variant == "vit_pytorch_deepvit"
    assert manifest.architecture.model_dump() == {
        "depth": 2, "embed_dim": 20, "num_heads": 5, "head_dim": 7, "mlp_dim": 33, "patch_size": 8, "stem": "normed",
        "mix_norm": "layer", "pooling": "mean",
    }  # fmt: skip
    assert (manifest.preprocess.std, manifest.preprocess.interpolation) == ((0.3, 0.2, 0.25), "bicubic")
    fp16 = next(stage for stage in manifest.parity if stage.stage == "onnx-fp16")
    assert fp16.sqnr_db > 50
    again = load_weights_of(manifest, WeightOptions(checkpoint=weights.checkpoint))
    assert again.variant.architecture == weights.load(VIT_PYTORCH.name).variant.architecture
    assert again.preprocessing() == manifest.preprocess
    opened = OpenedModel(name="a", session=None, preprocessing=manifest.preprocess, identity=manifest)
    assert list(preprocessing_breaches(opened, open_torch(again))) == []
    peer = _peer_weights(str(artifact.folder), WeightOptions(checkpoint=weights.checkpoint))
    assert peer.load(VIT_PYTORCH.name).variant.architecture == again.variant.architecture


def test_tensorrt_builds_it_and_it_holds_to_its_types(artifact, on_rig):
    job = Job(options=EngineOptions(), batch=artifact.manifest.batch, timing_cache=None, is_run=False)
    content, manifest = (artifact.folder / "model.onnx").read_bytes(), artifact.manifest
    built = build_engine(content, job, None, lambda *_: None, lambda layers: require_network(layers, manifest))
    assert engine_breaches(built.layers(), built.network, manifest) == []


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.FP8, Precision.BF16])
def test_every_precision_is_within_its_bounds(weights, tmp_path, photographs, precision):
    for path in photographs:
        (tmp_path / path.name).symlink_to(path)
    quantized = precision is not Precision.BF16
    options = {"imagenet": str(tmp_path), "quantization": QuantizationOptions(images=4)} if quantized else {}
    artifact = _export(weights, tmp_path / "a", precision=precision, **options)
    # Four linears a block; in INT8 q, k and v are products of their own.
    a_block = {Precision.INT8: 6, Precision.FP8: 4, Precision.BF16: 0}[precision]
    assert (artifact.manifest.graph.quantized_gemms or 0) == a_block * CONFIG.depth


def test_fused_reattention_is_refused_in_a_line(weights):
    shape = shape_of(weights.load(VIT_PYTORCH.name))
    with pytest.raises(
        InputError, match="vit_pytorch_deepvit has LayerNorm over heads, the kernel has none; leave it out"
    ):
        plan_export(shape, ExportOptions(graph=GraphOptions(reattention=Reattention.FUSED)))


def test_maps_are_those_of_the_model(weights, tmp_path):
    artifact = _export(weights, tmp_path / "a", precision=Precision.FP32, outputs=Outputs.MAPS)
    _, images = _theirs(artifact)
    expected = TorchMaps(weights.load(VIT_PYTORCH.name).module).maps(images[:1])
    got = OnnxMaps(artifact).maps(images[:1])
    for field in ("before", "after", "features"):
        assert np.abs(getattr(got, field) - getattr(expected, field)).max() <= 1e-5
    assert got.reattends == expected.reattends == (True, True)


@pytest.mark.parametrize("mix", MixForm)
def test_a_gain_that_stays_is_in_every_form_of_the_graph(tmp_path, mix):
    theirs = model_of(CONFIG)
    with torch.no_grad():
        theirs.transformer.layers[1][0].reattn_norm[1].weight[2] = 0.0
    save_file(state_of(theirs, CONFIG), tmp_path / "w.safetensors")
    loaded = WeightOptions(checkpoint=str(tmp_path / "w.safetensors"), pooling=Pooling.MEAN).load(VIT_PYTORCH.name)
    spec = GraphOptions(mix=mix, pad_tokens=True).spec
    folded, _ = fold(loaded.module, folds_of(loaded.module, spec))
    module = GraphModule(folded, spec, loaded.preprocessing())
    images = torch.rand((2, 3, CONFIG.image_size, CONFIG.image_size), dtype=torch.float64)
    with torch.inference_mode():
        assert (module(images) - theirs.double()(images)).abs().max() <= 1e-6  # masks are float32
    assert [hasattr(block.attn.head_norm, "gain") for block in module.blocks] == [False, True]
