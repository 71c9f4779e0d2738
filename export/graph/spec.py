"""How a float32 graph is written, every choice made: by an export's options, or read from an artifact's manifest."""

import dataclasses
import enum

from deepvit.runtime.artifact.manifest import BatchRange, InputForm, Manifest, MixForm, QkvForm
from deepvit.runtime.errors import InputError

from .padding import TokenPadding

BEFORE, AFTER, FEATURES = "attention", "reattention", "features"  # outputs are called attention.0, attention.1, …


class Outputs(enum.Enum):
    """What the graph gives."""

    LOGITS = "logits"
    MAPS = "maps"  # also every block's attention maps and tokens, to be looked at


@dataclasses.dataclass(frozen=True, kw_only=True)
class GraphSpec:
    """What a folded model is traced to.

    Attributes:
        mix: How the heads are mixed.
        qkv: How q, k and v are computed.
        input_form: What the graph takes.
        opset: ONNX opset.
        folds_biases: Whether the biases of k and v are folded away, which then need none.
        pads_head_dim: Whether heads are padded to a width that TensorRT likes.
        token_padding: Whether tokens are padded.
        outputs: What the graph gives.
        batch: The batch sizes that it takes.
    """

    mix: MixForm
    qkv: QkvForm
    input_form: InputForm
    opset: int
    folds_biases: bool
    pads_head_dim: bool
    token_padding: TokenPadding
    outputs: Outputs
    batch: BatchRange


def spec_from_manifest(manifest: Manifest) -> GraphSpec:
    """Return how the float32 graph was written that an artifact's typed one was made from.

    Raises:
        InputError: The manifest does not say it.
    """
    form = manifest.graph
    if form.opset is None or form.mix is None or form.qkv is None:
        raise InputError("the manifest does not say in which form its graph is written; export again")
    return GraphSpec(
        mix=form.mix,
        qkv=form.qkv,
        input_form=manifest.input_form,
        opset=form.opset,
        folds_biases=any(record.name == "key_bias" for record in manifest.folds),
        pads_head_dim=any(record.name == "pad_head_dim" and record.applied for record in manifest.folds),
        token_padding=TokenPadding.NEVER if form.padded_tokens is None else TokenPadding.ALIGNED,
        outputs=Outputs.LOGITS if form.attention_maps is None else Outputs.MAPS,
        batch=manifest.batch,
    )
