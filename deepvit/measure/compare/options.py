"""What a comparison can be asked for. Options check themselves."""

import dataclasses
from typing import Annotated, ClassVar

from deepvit.runtime.errors import InputError
from deepvit.runtime.options import Help
from deepvit.runtime.preprocess import FILES, DecodePolicy


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparisonOptions:
    """On which images models are compared, and with what."""

    heading: ClassVar[str] = "Images"

    images: Annotated[str | None, Help("Any folder of images; the bundled photographs if not given.")] = None
    imagenet: Annotated[str | None, Help("Dataset with val/, as for eval; its labels are not used.")] = None
    count: Annotated[int | None, Help("Compare at most so many images; 64 if not given.", min=1, max=50_000)] = None
    decoding: DecodePolicy = FILES
    reference: Annotated[
        str | None,
        Help("What to compare with: pytorch, or an artifact; PyTorch if its weights are given.", heading="Reference"),
    ] = None

    def __post_init__(self) -> None:
        if self.images is not None and self.imagenet is not None:
            raise InputError("‹images› and ‹imagenet› both name the images; give one of them")

    @property
    def dataset(self) -> str | None:
        return self.images or self.imagenet
