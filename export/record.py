"""What the manifest says of an export."""

import dataclasses
import hashlib
import importlib.metadata
import logging

from deepvit.model.load import LoadedModel
from deepvit.model.row import Layout
from deepvit.runtime.artifact.manifest import (
    GOLDEN_LOGITS,
    GOLDEN_SQNR_DB,
    ArchitectureRecord,
    FileRecord,
    FoldRecord,
    GoldenAnswer,
    GraphForm,
    Identity,
    InputForm,
    Manifest,
    ParityStage,
    PlainSessions,
    Tensor,
    TriedForms,
)
from deepvit.runtime.ort.session import OnnxRuntimeSession

from .graph import onnx_file
from .graph.float32 import Float32Graph
from .graph.proof.activation_range import largest
from .graph.spec import Outputs
from .graph.typed import TypedGraph
from .options import GraphOptions

logger = logging.getLogger(__name__)
TOOLS = ("deepvit", "torch", "timm", "onnx", "onnx-ir", "onnxscript", "onnxruntime", "numpy", "pillow")
ACTIVATIONS_KEPT = 3  # the largest, in the manifest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Proof:
    """The parity ladder up to the typed graph, and tensor → largest magnitude where it is not float32."""

    stages: tuple[ParityStage, ...]
    activations: dict[str, float]


def export_identity(source: Float32Graph, graph: GraphOptions, class_names: tuple[str, ...] | None) -> Identity:
    loaded, batch = source.loaded, graph.batch
    module, size = loaded.module, loaded.module.img_size
    is_uint8 = graph.input_form is InputForm.UINT8
    dynamic: int | str = onnx_file.BATCH if batch.min != batch.max else batch.max
    return Identity(
        schema=1,
        variant=loaded.variant.name,
        classes=module.num_classes,
        weights=loaded.weights,
        precision=graph.precision,
        input=Tensor(
            name=onnx_file.INPUT,
            shape=(dynamic, size, size, 3) if is_uint8 else (dynamic, module.in_chans, size, size),
            dtype="uint8" if is_uint8 else "float32",
        ),
        output=Tensor(name=onnx_file.OUTPUT, shape=(dynamic, module.num_classes), dtype="float32"),
        preprocess=source.preprocessing,
        class_names=class_names,
    )


def golden_answer(identity: Identity, session: OnnxRuntimeSession) -> GoldenAnswer:
    """Return what the finished graph, opened as `session`, answers for the golden image.

    Raises:
        OutOfBoundsError: Logits that are not finite.
    """
    images = identity.golden_input
    logits = session.run(images)[0, :GOLDEN_LOGITS]
    return GoldenAnswer(
        input_sha256=hashlib.sha256(images.tobytes()).hexdigest(),
        logits=tuple(float(f"{logit:.9g}") for logit in logits),  # nine digits tell every float32
        sqnr_db=GOLDEN_SQNR_DB[identity.precision],
    )


def export_manifest(
    identity: Identity,
    graph: TypedGraph,
    options: GraphOptions,
    *,
    tried: TriedForms | None,
    proof: Proof,
    golden: GoldenAnswer,
    plain: PlainSessions,
    files: dict[str, FileRecord],
) -> Manifest:
    source = graph.source
    spec, tokens, counts = source.spec, source.tokens, onnx_file.count_gemms(graph.model)
    return Manifest(
        **{("schema" if name == "schema_version" else name): value for name, value in identity},
        batch=options.batch,
        folds=tuple(FoldRecord(**dataclasses.asdict(report)) for report in source.folds),
        graph=GraphForm(
            opset=spec.opset,
            mix=spec.mix,
            qkv=spec.qkv,
            attention_maps=len(source.folded.blocks) if spec.outputs is Outputs.MAPS else None,
            padded_tokens=tokens.rows if tokens.padding else None,
            reattention=options.reattention_form if options.is_fused else None,
            gemms=counts.gemms,
            convolutions=counts.convolutions,
            quantized_gemms=counts.quantized_gemms or None,
            tried=tried,
        ),
        calibration=graph.calibration,
        parity=proof.stages,
        largest_activation=largest(proof.activations, ACTIVATIONS_KEPT),
        files=files,
        tools=_tool_versions(),
        golden=golden,
        plain=plain,
        architecture=_architecture(source.loaded),
    )


def _architecture(loaded: LoadedModel) -> ArchitectureRecord | None:
    """Return what a checkpoint said of its network; None where the variant's name says it."""
    architecture = loaded.variant.architecture
    if loaded.variant.layout is Layout.ORIGINAL:
        return None
    return ArchitectureRecord(
        depth=architecture.depth,
        embed_dim=architecture.embed_dim,
        num_heads=architecture.num_heads,
        head_dim=architecture.head_dim,
        mlp_dim=architecture.mlp_dim,
        patch_size=architecture.patch_size,
        stem=architecture.stem.value,
        mix_norm=architecture.mix_norm.value,
        pooling=architecture.pooling.value,
    )


def _tool_versions() -> dict[str, str]:
    versions = {}
    for package in TOOLS:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            logger.debug("%s is not installed as a package", package)
    return versions
