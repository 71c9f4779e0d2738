"""The kernel that fused re-attention of a model needs."""

from deepvit.model.architecture import MixNorm
from deepvit.model.row import Variant
from deepvit.runtime.artifact.manifest import Precision
from deepvit.runtime.errors import InputError
from deepvit.runtime.kernels.table import Kernel, Number

from ..padding import ALIGNMENT
from ..spec import GraphSpec


def kernel_for(variant: Variant, img_size: int, spec: GraphSpec, precision: Precision) -> Kernel:
    """Return the kernel of 16 rows for a model of images of `img_size` pixels a side whose graph is written so.

    Raises:
        InputError: The model has no re-attention, or sizes that no kernel can be made for.
    """
    architecture = variant.architecture
    if not architecture.reattention_blocks:
        raise InputError(f"‹reattention› fused: {variant.name} does not mix its maps; leave it out")
    if architecture.mix_norm is MixNorm.LAYER:
        raise InputError(
            f"‹reattention› fused: {variant.name} has LayerNorm over heads, the kernel has none; leave it out"
        )
    width = architecture.head_dim
    if spec.pads_head_dim:
        width += -width % ALIGNMENT
    tokens = (img_size // architecture.patch_size) ** 2 + 1
    number = Number.BF16 if precision is Precision.BF16 else Number.FP16
    try:
        return Kernel(number=number, heads=architecture.num_heads, width=width, tokens=tokens, rows=16)
    except ValueError as error:
        raise InputError(f"‹reattention› fused: no kernel for {variant.name}: {error}; leave it out") from error
