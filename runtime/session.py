"""One way to run a model, whatever runs it; one file per backend beside this one."""

import pathlib
from typing import Any, Protocol

from runtime.artifact import MANIFEST, MODEL, Artifact, BatchRange, Tensor, open_artifact
from runtime.errors import InputError, MissingError
from runtime.tensors import Images, Logits

PLAN_SUFFIXES = (".plan", ".engine")


class Session(Protocol):
    """A loaded model. Not shared between threads unless the backend's file says so."""

    input: Tensor
    batch: BatchRange
    classes: int

    @property
    def description(self) -> str:
        """What runs the model and how, for reports."""

    def run(self, images: Images) -> Logits:
        """Return logits (B, classes) float32 for `images` as `input` says; any B ≥ 1, split at the largest batch.

        Raises:
            InputError: Wrong shape or dtype.
            OutOfBoundsError: The logits are not finite.
        """

    def close(self) -> None:
        """Free what the session holds; it cannot run afterwards."""


def open_session(path: pathlib.Path | str, provider: str = "cpu", **options: Any) -> Session:
    """Open an artifact folder, or its model.onnx, verified against its manifest.

    Args:
        path: The folder, or a file in it. An ONNX file without a manifest opens too, unverified.
        provider: ONNX Runtime's execution provider: cpu, cuda, tensorrt, openvino, ….
        options: See `runtime.session_onnxruntime.OnnxRuntimeSession`.

    Raises:
        InputError: Not an artifact, not a model, or not what its manifest says.
        MissingError: This machine lacks ONNX Runtime, the provider, or what a plan needs.
    """
    path = pathlib.Path(path)
    if path.suffix in PLAN_SUFFIXES:
        artifact_of(path).read(path.name)
        raise MissingError(f"running {path.name} needs TensorRT, which this version cannot use yet; give its {MODEL}")
    from runtime.session_onnxruntime import OnnxRuntimeSession  # so that `import runtime` stays light

    if path.is_dir() or (path.parent / MANIFEST).is_file():
        artifact = artifact_of(path)
        name = MODEL if path.is_dir() else path.name
        return OnnxRuntimeSession(
            artifact.read(name),
            name=str(artifact.folder / name),
            provider=provider,
            batch=artifact.manifest.batch,
            **options,
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    return OnnxRuntimeSession(content, name=str(path), provider=provider, **options)


def artifact_of(path: pathlib.Path) -> Artifact:
    """Open the artifact that `path` is, or is a file of.

    Raises:
        InputError: Missing, or without a valid manifest.
    """
    if not path.is_dir() and not path.is_file():
        raise InputError(f"{path} does not exist; export it: python cli.py export deepvit_32 --fp16")
    return open_artifact(path if path.is_dir() else path.parent)
