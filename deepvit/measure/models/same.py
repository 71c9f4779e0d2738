"""Whether models can stand beside each other: the same one, the same preprocessing, the same classes."""

from collections.abc import Iterator, Sequence

from deepvit.images.class_names import names_or_default
from deepvit.runtime.errors import InputError, MissingError

from .opened import Contestant, OpenedModel

FIELDS = ("resize", "crop", "interpolation", "mean", "std", "color")


def require_same(model: str, found: Sequence[str], expected: Sequence[str]) -> None:
    """Refuse a model that another process opened otherwise than this one: answers would depend on who gave them.

    Args:
        model: What the user calls it.
        found: `Contestant.key` there.
        expected: The one here.

    Raises:
        InputError: It is another model.
        MissingError: Something else runs it.
    """
    if found[1] != expected[1]:
        raise MissingError(
            f"{model} would be run by {found[1]}, expected {expected[1]} as where the run was started; "
            "install the same there, or start the run on such a machine"
        )
    if found != expected:
        raise InputError(f"{model} was replaced while it was opened, or is another one there; run it again")


def shared_class_names(models: Sequence[OpenedModel | Contestant]) -> tuple[str, ...]:
    """Return the names of the classes of models that have the same ones: the first's that brings any."""
    brought = next((model.class_names for model in models if model.class_names), None)
    return names_or_default(brought, models[0].session.classes)


def preprocessing_breaches(model: OpenedModel, reference: OpenedModel) -> Iterator[str]:
    """Yield where the preprocessing of a model differs from that of its own weights, which `reference` has too."""
    if model.weights_sha256 is None or model.weights_sha256 != reference.weights_sha256:
        return
    for field in FIELDS:
        got, expected = getattr(model.preprocessing, field), getattr(reference.preprocessing, field)
        if got != expected:
            yield f"preprocessing {field} is {_shown(got)}, {reference.name} has {_shown(expected)}"


def _shown(value: object) -> str:
    return "/".join(f"{each:g}" for each in value) if isinstance(value, tuple) else str(value)
