"""A model → its float32 graph, folded and held against PyTorch: what every precision starts from."""

import dataclasses

import onnx
import torch

from deepvit.metrics.bounds import FP32_BOUND, FUSED_BOUND, prove
from deepvit.model.architecture import MixNorm
from deepvit.model.load import LoadedModel
from deepvit.model.network import DeepViT
from deepvit.model.rewrites import fold as folding
from deepvit.model.rewrites.linears import fold_key_bias, fold_value_bias, pad_head_dim
from deepvit.model.rewrites.norms import fold_head_gain
from deepvit.model.rewrites.report import Fold, FoldReport
from deepvit.progress import Progress
from deepvit.runtime.artifact.manifest import InputForm, ParityStage
from deepvit.runtime.preprocess import Crop, Preprocessing, model_input
from deepvit.runtime.session.tensors import Images, Logits

from .. import stages
from .module import GraphModule, tokens_in
from .onnx_file import to_bytes
from .padding import Tokens
from .proof.logits import Answers, graph_logits, plain_answers, prove_rewrite, torch_logits
from .reattention.fuse import fuse_reattention
from .spec import GraphSpec, Outputs
from .trace import onnx_from_module


@dataclasses.dataclass(frozen=True, kw_only=True)
class Float32Graph:
    """A model's graph in float32, and what is needed to write it with other weights.

    Attributes:
        loaded: The model.
        folded: The model in float64, its norms and scales folded into its weights.
        model: The folded model's graph.
        spec: How the graph is written.
        float_images: The parity images (N, 3, H, W), as the model in PyTorch takes them.
        images: Likewise as the graph takes them.
        logits: (N, classes), what the graph gives for them.
        folds: What each fold did.
        stages: The rungs of the parity ladder so far.
        activations: Tensor → largest magnitude, where they were measured on the way to the logits.
    """

    loaded: LoadedModel
    folded: DeepViT
    model: onnx.ModelProto
    spec: GraphSpec
    float_images: Images
    images: Images
    logits: Logits
    folds: tuple[FoldReport, ...]
    stages: tuple[ParityStage, ...]
    activations: dict[str, float]

    @property
    def is_random(self) -> bool:
        return self.loaded.weights.source == "random"

    @property
    def preprocessing(self) -> Preprocessing:
        """Of the graph's input."""
        return graph_preprocessing(self.loaded, self.spec.input_form)

    @property
    def tokens(self) -> Tokens:
        return tokens_in(self.folded, self.spec.token_padding)


def float32_graph(
    loaded: LoadedModel, spec: GraphSpec, crops: Crop, progress: Progress, answers: Answers = plain_answers
) -> Float32Graph:
    """Fold and export `loaded`, each held against the original on `crops` (N, H, W, 3) uint8.

    Args:
        loaded: The model.
        spec: How its graph is written.
        crops: Images.
        progress: Called with each step as it begins.
        answers: Runs the graph, and may measure its activations.

    Raises:
        OutOfBoundsError: A rung of the parity ladder is outside its bound.
        InputError: The exporter cannot write this opset.
        MissingError: ONNX Runtime is not installed.
    """
    float_images = model_input(crops, loaded.preprocessing(), loaded.module.in_chans)
    images = crops if spec.input_form is InputForm.UINT8 else float_images
    progress(stages.FOLDING)
    folded, reports, folding_stage = fold_and_prove(loaded.module, spec, float_images)
    progress(stages.tracing(spec.opset))
    model = _traced(loaded, folded, spec)
    progress(stages.comparing(len(crops)))
    expected = torch_logits(loaded.module, float_images)
    logits, activations = answers(model, images)
    stage = prove("onnx-fp32", "original", logits, expected, FP32_BOUND)
    return Float32Graph(
        loaded=loaded,
        folded=folded,
        model=model,
        spec=spec,
        float_images=float_images,
        images=images,
        logits=logits,
        folds=tuple(reports),
        stages=(folding_stage, stage),
        activations=activations,
    )


def prove_fused(source: Float32Graph) -> Float32Graph:
    """Return `source` with a further rung: its graph with fused re-attention, run by the operator's body.

    Raises:
        OutOfBoundsError: The body gives other logits.
    """
    logits = graph_logits(fuse_reattention(source.model), source.images, "the ONNX graph with fused re-attention")
    stage = prove("onnx-fp32-fused", "onnx-fp32", logits, source.logits, FUSED_BOUND)
    return dataclasses.replace(source, stages=(*source.stages, stage))


def graph_module(folded: DeepViT, spec: GraphSpec, preprocessing: Preprocessing) -> GraphModule:
    """Return the float32 module that the graph of a folded model is traced from."""
    return GraphModule(folded, spec, preprocessing).float()


def _traced(loaded: LoadedModel, folded: DeepViT, spec: GraphSpec) -> onnx.ModelProto:
    """Return the graph of `loaded`, folded: as it runs for an image of zeros, which has no say in it."""
    side, is_pixels = folded.img_size, spec.input_form is InputForm.UINT8
    floats = torch.zeros(1, folded.in_chans, side, side)
    image = torch.zeros(1, side, side, 3, dtype=torch.uint8) if is_pixels else floats
    module = graph_module(folded, spec, graph_preprocessing(loaded, spec.input_form))
    return onnx_from_module(module, image, spec.batch, spec.opset)


def unproved_graph(loaded: LoadedModel, spec: GraphSpec) -> onnx.ModelProto:
    """Return the graph that `float32_graph` writes, to be looked at and not kept: nothing is proved."""
    folded, _ = folding.fold(loaded.module, folds_of(loaded.module, spec))
    return _traced(loaded, folded, spec)


def float32_onnx(loaded: LoadedModel, spec: GraphSpec, crops: Crop) -> bytes:
    """Export `loaded` again, as `float32_graph` did, and return the ONNX file's bytes.

    Args:
        loaded: The model.
        spec: How its graph is written.
        crops: Images (N, H, W, 3) uint8, on which the folds are proved again.

    Raises:
        OutOfBoundsError: The folds changed the answer.
    """
    floats = model_input(crops, loaded.preprocessing(), loaded.module.in_chans)
    folded, _, _ = fold_and_prove(loaded.module, spec, floats)
    return to_bytes(_traced(loaded, folded, spec))


def fold_and_prove(original: DeepViT, spec: GraphSpec, images: Images) -> tuple[DeepViT, list[FoldReport], ParityStage]:
    """Fold `original` as `spec` wants it and compare both in float64 on a few of `images`."""
    folded, reports = folding.fold(original, folds_of(original, spec))
    exact = folding.float64_copy(original)
    return folded, reports, prove_rewrite("folded-float64", "original-float64", folded, exact, images)


def folds_of(model: DeepViT, spec: GraphSpec) -> list[Fold]:
    """Return the folds, in order, that the graph of a model is written after."""
    folds = list(folding.ALWAYS)
    if model.mix_norm is MixNorm.LAYER and spec.outputs is Outputs.LOGITS:  # maps are to be as the model has them
        folds.append(fold_head_gain)
    if spec.folds_biases:
        folds += [fold_key_bias, fold_value_bias]
    if spec.pads_head_dim:
        folds.append(pad_head_dim)
    return folds


def graph_preprocessing(loaded: LoadedModel, form: InputForm) -> Preprocessing:
    """Return the manifest's preprocessing: that of the graph's input."""
    return loaded.preprocessing("NHWC" if form is InputForm.UINT8 else "NCHW")
