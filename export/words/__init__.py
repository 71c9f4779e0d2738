"""Exports and artifacts in words, for a terminal."""

from .artifact import describe_artifact, describe_export, describe_identity
from .engine import describe_build
from .graph import describe_calibration

__all__ = ["describe_artifact", "describe_build", "describe_calibration", "describe_export", "describe_identity"]
