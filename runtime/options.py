"""What a field of an options dataclass is for, in its annotation, for whoever lets people set it."""

import dataclasses
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Help:
    """One option of a field, as in `opset: Annotated[int | None, Help("ONNX opset.")] = None`.

    A field can have several, of which people give one; a field without any is not for people to set. A dataclass says
    what its options are called together by a ClassVar `heading`; a field inherits that of what holds it otherwise.

    Attributes:
        text: What it is.
        name: What it is called, where not as the field.
        value: What the field becomes when the option, a switch then, is given.
        parse: What makes the field's value of what is given, whose type is that of its first parameter.
        min: The least number.
        max: The largest number.
        is_argument: Whether it is given by its place, without its name.
        heading: What it stands under in a list of options, where not with the others of its dataclass.
    """

    text: str
    name: str | None = None
    value: object = None
    parse: Callable[[Any], object] | None = None
    min: float | None = None
    max: float | None = None
    is_argument: bool = False
    heading: str | None = None


class Without:
    """Which fields of a group of options are not for people to set here, as in `Annotated[SessionOptions, Without(…)]`.

    Args:
        fields: Their names.
    """

    def __init__(self, *fields: str) -> None:
        self.fields = frozenset(fields)
