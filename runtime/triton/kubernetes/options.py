"""What manifests for Kubernetes can be asked for."""

import dataclasses
import pathlib
import re
from typing import Annotated, ClassVar

from ...errors import InputError
from ...options import Help


@dataclasses.dataclass(frozen=True, kw_only=True)
class KubernetesOptions:
    """Where the manifests go, and what they run.

    Attributes:
        kubernetes: Folder of the manifests; none are written where None.
        image: Triton's container; by the engine's TensorRT where None.
    """

    heading: ClassVar[str] = "Kubernetes"

    kubernetes: Annotated[
        pathlib.Path | None, Help("Also write manifests that serve the repository on Kubernetes, into this folder.")
    ] = None
    image: Annotated[str | None, Help("Triton's container there; the one with the engine's TensorRT if not given.")] = (
        None
    )

    def __post_init__(self) -> None:
        if self.image is None:
            return
        if self.kubernetes is None:
            raise InputError("‹image› is for ‹kubernetes› DIR; give that too, or leave it out")
        if not re.fullmatch(r"[a-z0-9][a-zA-Z0-9._:/@-]{0,499}", self.image):
            raise InputError(
                f"‹image› {self.image!r}: expected a container as in nvcr.io/nvidia/tritonserver:YY.MM-py3"
            )
