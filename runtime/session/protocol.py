"""What every session is, whatever runs the model; one file per backend beside this folder."""

import contextlib
from collections.abc import Iterator
from typing import Protocol

from ..artifact.manifest import BatchRange, Identity, Tensor
from .tensors import Images, Logits


class Session(Protocol):
    """A loaded model. Not shared between threads unless the backend's file says so."""

    input: Tensor
    batch: BatchRange
    classes: int
    is_emulated: bool  # rounds every tensor as declared, for accuracy: how fast that is says nothing of what serves
    identity: Identity | None  # its manifest, or what a lone ONNX file says of itself, unverified; None: nobody says

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the logits: names, or their numbers where nobody gave any."""

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


@contextlib.contextmanager
def closed_on_failure(session: Session) -> Iterator[None]:
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(session.close)
        yield
        on_failure.pop_all()
