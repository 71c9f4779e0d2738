"""What several measurements can be asked for; nothing here loads PyTorch. Options check themselves."""

import dataclasses
import os
import pathlib
import re
from typing import TYPE_CHECKING, Annotated, ClassVar

from deepvit.export.options import GraphOptions, Target
from deepvit.model.architecture import Pooling
from deepvit.model.vit_pytorch import Unsaid
from deepvit.runtime.artifact.manifest import Precision
from deepvit.runtime.errors import InputError, needed_for, require_installed
from deepvit.runtime.files import cache_root
from deepvit.runtime.opening import open_session
from deepvit.runtime.options import Help
from deepvit.runtime.ort.arithmetic import Arithmetic
from deepvit.runtime.preprocess import FILES, INTERPOLATIONS, LARGEST_STATISTIC, LEAST_STD, DecodePolicy
from deepvit.runtime.session import Session

if TYPE_CHECKING:
    from deepvit.export.plan import ModelShape
    from deepvit.model.load import LoadedModel
    from deepvit.model.row import Variant

LEAST_CROP = 0.05
UNSAID = "What checkpoints of vit_pytorch_deepvit do not say"  # the heading
SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def channels_from_text(text: str) -> tuple[float, float, float]:
    """Parse three numbers between commas, or one for all three.

    Raises:
        InputError: No such numbers.
    """
    parts = text.split(",")
    try:
        red, green, blue = [float(part) for part in parts] * (3 if len(parts) == 1 else 1)
    except ValueError as error:
        raise InputError(f"{text!r}: expected three numbers, as in 0.485,0.456,0.406, or one for all") from error
    return red, green, blue


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightOptions:
    """Where PyTorch weights come from, when a model or its reference needs them: random ones where nothing is given."""

    heading: ClassVar[str] = "Weights"

    checkpoint: Annotated[
        str | None,
        Help("File of weights: .pth.tar, .pth, .pt, .bin or .safetensors; or hf-hub:ORG/NAME, or its URL."),
    ] = None
    sha256: Annotated[str | None, Help("What the checkpoint's file must have; nothing of another is loaded.")] = None
    pretrained: Annotated[bool, Help("Take the published weights; they are fetched into the cache once.")] = False
    no_ema: Annotated[bool, Help("Take the checkpoint's plain weights, not their moving average.")] = False
    img_size: Annotated[int | None, Help("Side of the images in pixels; resizes the position embedding.")] = None
    num_classes: Annotated[int | None, Help("Number of classes of random weights; a checkpoint says it itself.")] = None
    pooling: Annotated[
        Pooling | None, Help("What is classified: cls or mean of the tokens; cls if not given.", heading=UNSAID)
    ] = None
    mean: Annotated[
        tuple[float, float, float] | None,
        Help(
            "Mean of the channels, as in 0.5,0.5,0.5; ImageNet's if not given.",
            parse=channels_from_text,
            heading=UNSAID,
        ),
    ] = None
    std: Annotated[
        tuple[float, float, float] | None,
        Help("Standard deviation of the channels; ImageNet's if not given.", parse=channels_from_text, heading=UNSAID),
    ] = None
    crop_pct: Annotated[
        float | None, Help("Share of the resized shorter side that is cropped; 0.875 if not given.", heading=UNSAID)
    ] = None
    interpolation: Annotated[
        str | None, Help("Resize by nearest, bilinear, bicubic or lanczos; bilinear if not given.", heading=UNSAID)
    ] = None

    def __post_init__(self) -> None:
        if self.sha256 is not None and self.checkpoint is None:
            raise InputError("‹sha256› is of a ‹checkpoint›; give one, or leave it out")
        if self.sha256 is not None and not SHA256.fullmatch(self.sha256):
            raise InputError(f"‹sha256› {self.sha256}: expected 64 hexadecimal digits, as sha256sum prints")
        if self.std is not None and not all(LEAST_STD <= value <= LARGEST_STATISTIC for value in self.std):
            raise InputError(f"‹std› {self.std}: expected {LEAST_STD:g} to {LARGEST_STATISTIC:g}")
        if self.mean is not None and not all(abs(value) <= LARGEST_STATISTIC for value in self.mean):
            raise InputError(f"‹mean› {self.mean}: expected at most {LARGEST_STATISTIC:g}")
        if self.crop_pct is not None and not LEAST_CROP <= self.crop_pct <= 1:
            raise InputError(f"‹crop_pct› {self.crop_pct}: expected {LEAST_CROP} to 1")
        if self.interpolation is not None and self.interpolation not in INTERPOLATIONS:
            raise InputError(f"‹interpolation› {self.interpolation}: expected one of {', '.join(INTERPOLATIONS)}")

    @property
    def are_random(self) -> bool:
        return self.checkpoint is None and not self.pretrained

    @property
    def unsaid(self) -> Unsaid:
        """What vit-pytorch's weights do not say."""
        return Unsaid(
            pooling=self.pooling,
            mean=self.mean,
            std=self.std,
            crop_pct=self.crop_pct,
            interpolation=self.interpolation,  # type: ignore[arg-type]
        )

    def load(self, variant: str) -> "LoadedModel":
        """Load a model with them; see `load_model`.

        Raises:
            MissingError: PyTorch or timm is not installed.
        """
        with needed_for(f"{variant} in PyTorch"):
            from deepvit.model.load import load_model
            from deepvit.model.weights.checkpoint import EmaChoice

        return load_model(
            variant,
            checkpoint=self.checkpoint,
            sha256=self.sha256,
            pretrained=self.pretrained,
            ema=EmaChoice.REFUSE if self.no_ema else EmaChoice.PREFER,
            img_size=self.img_size,
            num_classes=self.num_classes,
            unsaid=self.unsaid,
        )

    def shape(self, variant: str) -> "ModelShape":
        """Return what `load` would give, as far as a plan needs it; PyTorch is loaded to look into a file alone.

        Raises:
            InputError: As `load`.
            MissingError: As `load`, or the published weights would have to be fetched, and cannot be.
        """
        from deepvit.export.plan import ModelShape, shape_of
        from deepvit.model.row import Layout
        from deepvit.model.variants import find_variant
        from deepvit.model.weights.addresses import is_address

        row = find_variant(variant)
        require_installed(f"{variant} in PyTorch", "torch", "timm")
        if row.layout is Layout.VIT_PYTORCH:
            return shape_of(self.load(variant))
        is_own = row.bundled_weights is not None and self.num_classes is None  # a file of ours, which fits
        is_here = self.checkpoint is not None and not is_address(
            self.checkpoint
        )  # else it is not fetched to be planned
        if is_here or (self.pretrained and not is_own and not self._is_fetched(row)):
            return shape_of(self.load(variant))
        img_size, classes = self.img_size or row.img_size, self.num_classes or row.num_classes
        row.architecture.require_sizes(img_size, classes, 3)
        return ModelShape(
            variant=row,
            img_size=img_size,
            channels=3,
            classes=classes,
            is_random=self.are_random,
            parameters=row.parameters,
        )

    def _is_fetched(self, row: "Variant") -> bool:
        """Return whether weights would be fetched, or be recorded for the first time, which writes into the cache.

        Raises:
            MissingError: They would, and nothing that fetches is installed.
        """
        path = cache_root() / f"{row.name}.pth.tar"
        if row.drive_id is None or path.with_name(path.name + ".sha256").is_file():
            return False
        if not path.is_file():
            require_installed("fetching a published checkpoint", "gdown")
        return True


@dataclasses.dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """How a session is opened that is measured; see `runtime.open_session`."""

    heading: ClassVar[str] = "How it runs"

    threads: Annotated[int | None, Help("Threads on the CPU; as many as cores if not given.", min=1)] = None
    arithmetic: Arithmetic = Arithmetic.AS_DECLARED
    provider: Annotated[
        str | None, Help("ONNX Runtime's provider: cpu, cuda, tensorrt or tensorrt-rtx; or openvino.")
    ] = None
    trust_unverified: Annotated[bool, Help("Load a plan that has no manifest.")] = False
    allow_host_code: Annotated[bool, Help("Let a version-compatible plan run its own code.")] = False

    def sharing(self, others: int) -> "SessionOptions":
        """Return them for one of several processes that share the cores of the machine that this is called on."""
        return dataclasses.replace(self, threads=max(1, (os.cpu_count() or 1) // others))

    def open(self, path: pathlib.Path) -> Session:
        return open_session(path, **dataclasses.asdict(self))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SensitivityOptions:
    """In what each linear is quantised, and on which images that is scored."""

    heading: ClassVar[str] = "Images"

    imagenet: Annotated[str | None, Help("Dataset that calibrates and scores.")] = None
    decoding: DecodePolicy = FILES
    precision: Annotated[
        Precision, Help("Quantise to FP8; to INT8 if not given.", name="fp8", value=Precision.FP8, heading="Precision")
    ] = Precision.INT8
    target: Annotated[
        Target, Help("What to quantise for: auto, or cpu (unsigned activations).", heading="Precision")
    ] = Target.AUTO
    images: Annotated[int, Help("Score on so many of the calibration images.", min=1, max=4096)] = 32

    @property
    def graph(self) -> GraphOptions:
        return GraphOptions(precision=self.precision, target=self.target)
