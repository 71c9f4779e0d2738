"""What was exported, built or looked into, as results: the artifact's manifest, and where it lies."""

from typing import ClassVar, Literal

from deepvit.metrics.result import Result
from deepvit.runtime.artifact.manifest import Identity, Manifest

from .estimate import SpeedEstimate
from .kernels import Kernels


class _OfArtifact(Result):
    EXACT: ClassVar[frozenset[str]] = frozenset({"manifest"})

    artifact: str  # the folder
    manifest: Manifest  # as manifest.json has it


class Export(_OfArtifact):
    """What `export` wrote, engines included."""

    kind: Literal["export"] = "export"


class Build(_OfArtifact):
    """The artifact as `build` left it."""

    kind: Literal["build"] = "build"
    built: list[str]  # the plans that this run added


class Inspection(Result):
    """What `inspect` found; `runs_here` is, for every engine, whether this machine can load it."""

    EXACT: ClassVar[frozenset[str]] = frozenset({"manifest", "identity"})

    kind: Literal["inspection"] = "inspection"
    artifact: str  # the folder, or a lone file
    manifest: Manifest | None = None  # as manifest.json has it; None of a lone file
    identity: Identity | None = None  # what a lone file says of itself, unverified
    runs_here: dict[str, bool] = {}
    kernels: Kernels | None = None  # where they were asked for
    estimate: SpeedEstimate | None = None  # of a GPU that was named; no measurement
