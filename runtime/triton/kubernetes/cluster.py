"""What the manifests of one repository have in common: names, container, sizes."""

import dataclasses
import math
import re

from ...artifact.manifest import Engine
from ...errors import InputError

MODELS = "/models"  # where a pod has the repository
KSERVE_MODELS = "/mnt/models"  # where KServe's storage initializer puts it
FOLDER_IN_VOLUME = "repository"  # not its top: file systems have folders there, and Triton takes each for a model
HTTP, GRPC, METRICS = 8000, 8001, 8002  # Triton's own ports
KSERVE_HTTP = 8080  # that of the runtime kserve-tritonserver
GIB = 1 << 30
MOST_CHARACTERS = 50  # KServe appends "-predictor" to a name, and 63 are allowed
# Where sizes start, to be measured on the cluster: the server and its Python processes, images of 50 million pixels.
LEAST_MEMORY_BYTES = 4 * GIB
MODELS_IN_MEMORY = 4  # of a model's file: each Python process and backend has its own, with what it needs to run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cluster:
    """One repository, as it is served on a cluster.

    Attributes:
        name: Of all objects.
        image: Triton's container.
        engine: The plan among the models; None where none needs a GPU.
        requirements: What the Python models import, as pip takes it.
        model_bytes: Size of the models' files.
        revision: SHA-256 of repository.json, which has every file's hash: pods are replaced where it changes.
    """

    name: str
    image: str
    engine: Engine | None
    requirements: tuple[str, ...]
    model_bytes: int
    revision: str

    @property
    def claim(self) -> str:
        """The name of the volume's claim."""
        return f"{self.name}-models"

    @property
    def labels(self) -> dict[str, str]:
        return {"app.kubernetes.io/name": self.name, "app.kubernetes.io/component": "tritonserver"}

    @property
    def memory(self) -> str:
        """Memory of a pod, its /dev/shm included."""
        return _gibibytes(LEAST_MEMORY_BYTES + MODELS_IN_MEMORY * self.model_bytes)

    @property
    def storage(self) -> str:
        """Room for the repository, and for the next one while it is copied."""
        return _gibibytes(2 * self.model_bytes)


def cluster_name(ensemble: str) -> str:
    """Return an ensemble's name as Kubernetes takes it for a Service: a-z, 0-9 and '-', beginning with a letter.

    Raises:
        InputError: It would be too long.
    """
    name = re.sub(r"[^a-z0-9]+", "-", ensemble.lower()).strip("-")
    if not name[:1].isalpha():
        name = f"model-{name}".rstrip("-")
    if len(name) > MOST_CHARACTERS:
        raise InputError(f"‹name› {ensemble}: {name} is too long for Kubernetes; expected {MOST_CHARACTERS} characters")
    return name


def _gibibytes(size: int) -> str:
    return f"{max(1, math.ceil(size / GIB))}Gi"
