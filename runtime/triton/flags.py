"""How the server is started: README.md of a repository and the manifests for Kubernetes say the same."""

from ..artifact.manifest import Engine
from . import layout

RULES = (
    "--model-control-mode=none",
    "--disable-auto-complete-config",
    "--exit-on-error=false",
    "--strict-readiness=true",
)
# Without it Triton's TensorRT backend refuses a version-compatible plan (src/tensorrt.cc of its repository).
HOST_CODE = "--backend-config=tensorrt,version-compatible=true"
# Keeps glibc from raising its threshold with every large image, without which the server's memory grows under load.
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "131072"}


def server_flags(engine: Engine | None, folder: str) -> list[str]:
    """Return the flags of a server that finds the repository in `folder`, but for --model-repository and addresses."""
    flags = list(RULES)
    if engine is not None and engine.version_compatible:
        flags.append(HOST_CODE)
    if engine is not None and engine.plugin is not None:
        flags.append(f"--backend-config=tensorrt,plugins={folder}/{layout.PLUGIN}")
    return flags
