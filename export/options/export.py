"""A whole export, as it is asked for."""

import dataclasses
import pathlib
from typing import Annotated, ClassVar

from deepvit.calibration.options import DEFAULT_SEED, QuantizationOptions
from deepvit.runtime.artifact.manifest import Precision
from deepvit.runtime.errors import InputError
from deepvit.runtime.options import Help
from deepvit.runtime.preprocess import FILES, DecodePolicy

from .choices import QUANTIZED
from .graph import GraphOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """One export: the graph, how it is quantised, which images prove it, and where it goes.

    Attributes:
        graph: How it is written, and for what.
        imagenet: The dataset that calibrates and proves; the bundled photographs where None.
        decoding: Which of its images are decoded.
        parity_images: How many of its images prove; by their size where None.
        quantization: How INT8 and FP8 come about.
        labels: The names of the classes, one a line; None: the variant's, ImageNet's for 1000 classes, else none.
        output: The artifact's folder; `artifact_folder` where None.
    """

    heading: ClassVar[str] = "Images"

    graph: GraphOptions = dataclasses.field(default_factory=GraphOptions)
    imagenet: Annotated[
        str | None,
        Help("Dataset that calibrates and proves the export; the bundled photographs prove it if not given."),
    ] = None
    decoding: DecodePolicy = FILES
    parity_images: Annotated[
        int | None, Help("Prove the export on so many images; 16 if not given, 8 of those above 256 pixels.")
    ] = None
    quantization: QuantizationOptions = dataclasses.field(default_factory=QuantizationOptions)
    labels: Annotated[
        pathlib.Path | None,
        Help("File with a class name per line; ImageNet's for 1000 classes if not given.", heading="Output"),
    ] = None
    output: Annotated[
        pathlib.Path | None, Help("Folder of the artifact; artifacts/VARIANT-PRECISION if not given.", heading="Output")
    ] = None

    def __post_init__(self) -> None:
        if self.parity_images is not None and not 1 <= self.parity_images <= 50_000:
            raise InputError(f"‹parity_images› {self.parity_images}: expected 1 to 50000")
        if self.graph.precision not in QUANTIZED and self.quantization != QuantizationOptions():
            raise InputError(
                "options of calibration and of accuracy budgets are for ‹int8› and ‹fp8›; leave them out, or give one"
            )
        require_attention(self.graph, self.quantization)
        quantization = self.quantization
        is_about_images = dataclasses.replace(quantization, images=None, seed=DEFAULT_SEED, skip_corrupt=False)
        if quantization.weight_only and quantization.budget is None and quantization != is_about_images:
            raise InputError(
                "‹weight_only› calibrates nothing, and without a budget searches nothing; leave out "
                "‹calibration_images›, ‹calibration_seed› and ‹skip_corrupt›"
            )

    def artifact_folder(self, variant: str) -> pathlib.Path:
        """Return where the artifact of `variant` goes: `output`, else a folder named after it and its precision."""
        return self.output or pathlib.Path("artifacts") / f"{variant}-{self.graph.precision.value}"


def require_attention(graph: GraphOptions, quantization: QuantizationOptions) -> None:
    """Refuse to quantise attention where the graph's precision is not for it.

    Raises:
        InputError: Attention is to be quantised, and the graph is not FP8, or has it fused.
    """
    if quantization.attention and graph.is_fused:
        raise InputError("‹quantize_attention›: fused re-attention has no products to quantise; leave out one of both")
    if quantization.attention and graph.precision is not Precision.FP8:
        raise InputError("‹quantize_attention› is for ‹fp8›: in INT8 the maps of attention lose too much")
