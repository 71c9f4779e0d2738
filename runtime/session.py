"""One way to run a model, whatever runs it; one file per backend beside this one."""

import pathlib
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from runtime.artifact import MANIFEST, MODEL, Artifact, BatchRange, Tensor, open_artifact
from runtime.errors import InputError, MissingError, OutOfBoundsError

Logits = npt.NDArray[np.float32]
Images = npt.NDArray[np.float32] | npt.NDArray[np.uint8]
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


def check_images(images: Images, expected: Tensor) -> None:
    """Hold `images` against the graph's input; the number of images is free.

    Raises:
        InputError: Wrong dtype, rank or dimension, or no image at all.
    """
    fits = images.ndim == len(expected.shape) and all(
        isinstance(want, str) or want == got for want, got in zip(expected.shape[1:], images.shape[1:], strict=True)
    )
    if not fits or images.dtype.name != expected.dtype or images.shape[0] < 1:
        raise InputError(f"images are {images.dtype} {images.shape}, expected {expected.dtype} {expected.shape}")


def check_logits(logits: Logits, who: str) -> Logits:
    """Return `logits` when all are finite.

    Raises:
        OutOfBoundsError: Some are not; they would otherwise come out as some class.
    """
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        raise OutOfBoundsError(
            f"{who}: the logits of {int((~finite).sum())} of {len(logits)} images are not finite; the precision "
            "overflows: export with --bf16 or --fp32"
        )
    return logits


def split_batches(images: Images, largest: int) -> list[Images]:
    """Cut `images` into runs of at most `largest`."""
    return [images[start : start + largest] for start in range(0, len(images), largest)]
