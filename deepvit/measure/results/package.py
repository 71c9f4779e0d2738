"""A Triton model repository that was written, or checked, as a result."""

from typing import Literal

from deepvit.metrics.result import Result


class Package(Result):
    """What `package` wrote, or what it found in what was written before."""

    kind: Literal["package"] = "package"
    repository: str
    models: list[str] | None  # None where the repository was only checked
    faults: list[str] | None  # None where it was only written
    kubernetes: str | None = None  # the folder of the manifests; None where none were asked for
