"""What a model repository can be asked for."""

import dataclasses
import enum
import pathlib
from collections.abc import Sequence
from typing import Annotated, ClassVar

from ..errors import InputError
from ..options import Help
from ..preprocess import MOST_MEGAPIXELS, SERVED, DecodePolicy


class TritonBackend(enum.Enum):
    """What runs the model in Triton."""

    TENSORRT = "tensorrt"  # the engine, by Triton's TensorRT backend
    ONNXRUNTIME = "onnxruntime"  # model.onnx, by Triton's ONNX Runtime backend
    PYTHON = "python"  # the artifact, by this package in Triton's Python backend


def backends_from_text(text: str) -> tuple[TritonBackend, ...]:
    """Parse tensorrt,python.

    Raises:
        InputError: An unknown backend.
    """
    members = {backend.value: backend for backend in TritonBackend}
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in members:
            raise InputError(f"‹backends› {name}: expected one of {', '.join(members)}")
    return tuple(members[name] for name in names)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServingOptions:
    """How a repository serves.

    Attributes:
        name: Of the ensemble; the variant's where None.
        backends: What runs the model; all that the artifact has files for where None.
        served: Which of them the ensemble runs; the first where None.
        max_megapixels: Larger images are refused, before they are decoded.
    """

    heading: ClassVar[str] = "Serving"

    name: Annotated[str | None, Help("Name of the ensemble; the variant's if not given.")] = None
    backends: Annotated[
        tuple[TritonBackend, ...] | None,
        Help(
            "What runs the model, of tensorrt,onnxruntime,python; all that there are files for if not given.",
            parse=backends_from_text,
        ),
    ] = None
    served: Annotated[
        TritonBackend | None, Help("Which backend the ensemble runs; the first if not given.", name="serve")
    ] = None
    max_megapixels: Annotated[
        int, Help("Refuse larger images before they are decoded.", min=1, max=MOST_MEGAPIXELS)
    ] = SERVED.max_megapixels

    @property
    def decoding(self) -> DecodePolicy:
        return dataclasses.replace(SERVED, max_megapixels=self.max_megapixels)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RepositoryOptions(ServingOptions):
    """What to write, and where; `labels` has a name for each class."""

    output: pathlib.Path
    labels: Sequence[str]
    golden_image: bytes
