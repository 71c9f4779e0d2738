"""Dataclasses as groups of options: a command takes the library's own objects, Typer sees an option for each field."""

import dataclasses
import enum
import functools
import inspect
import keyword
import types
import typing
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from deepvit.runtime.errors import InputError
from deepvit.runtime.options import Help, Without

from .spelling import spelled

EMPTY = inspect.Parameter.empty


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return `command` as Typer takes it: with an option for each `Help` of its parameters, and of their fields.

    Raises:
        InputError: When it is called: no member of an Enum, two options of one field, or what the dataclasses refuse.
    """
    group = _Group(command)

    @functools.wraps(command)
    def expanded(**arguments: Any) -> None:
        group.value(arguments)

    parameters = [option.parameter for option in group.options()]
    expanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return expanded


class _Group:
    """A command or a dataclass: for each parameter or field the options that set it, or again a group.

    Args:
        make: What is called with all of their values.
        without: The parameters that nobody sets.
        heading: What the options stand under in the help, where `make` does not say it.
    """

    def __init__(
        self, make: Callable[..., Any], without: frozenset[str] = frozenset(), heading: str = "Options"
    ) -> None:
        self._make = make
        heading = getattr(make, "heading", heading)
        self._members: dict[str, list[_Option] | _Group] = {}
        for name, parameter in inspect.signature(make, eval_str=True).parameters.items():
            kind, metadata = _split(parameter.annotation)
            if name in without:
                continue
            if helps := [each for each in metadata if isinstance(each, Help)]:
                default = parameter.default if len(helps) == 1 else None
                self._members[name] = [
                    _Option(each, each.name or name, kind, default, each.heading or heading) for each in helps
                ]
            elif isinstance(kind, type) and dataclasses.is_dataclass(kind):
                left_out = [each.fields for each in metadata if isinstance(each, Without)]
                group = _Group(kind, frozenset().union(*left_out), heading)
                if any(group.options()):
                    self._members[name] = group

    def options(self) -> Iterator["_Option"]:
        for member in self._members.values():
            yield from member if isinstance(member, list) else member.options()

    def value(self, arguments: dict[str, Any]) -> Any:
        """Return what `make` returns for the options that were given; the rest is left to its defaults."""
        values = {}
        for name, member in self._members.items():
            if isinstance(member, _Group):
                values[name] = member.value(arguments)
                continue
            options = [option for option in member if option.is_given(arguments[option.key])]
            if len(options) > 1:
                flags = " and ".join(option.flag for option in options)
                raise InputError(f"{flags} exclude each other; give one of them")
            if options:
                values[name] = options[0].value(arguments[options[0].key])
        return self._make(**values)


@dataclasses.dataclass(frozen=True)
class _Option:
    """An option that sets a parameter or field, which is of type `kind`, or None."""

    help: Help
    name: str
    kind: Any
    default: Any
    heading: str

    @property
    def key(self) -> str:
        """What Typer hands its value over as."""
        return f"{self.name}_" if keyword.iskeyword(self.name) else self.name

    @property
    def flag(self) -> str:
        return f"--{self.name.replace('_', '-')}"

    @property
    def parameter(self) -> inspect.Parameter:
        """The option as Typer takes it: of a type that Typer knows, with a default of that type."""
        kind, default, flag = self.kind, self.default, self.flag
        if self.help.value is not None:
            kind, default = bool, False
        elif self.help.parse is not None:
            parsed, *_ = inspect.signature(self.help.parse, eval_str=True).parameters.values()
            kind = parsed.annotation
        elif typing.get_origin(kind) is tuple:
            kind, default = types.GenericAlias(list, typing.get_args(kind)[:1]), default or None
        elif issubclass(kind, enum.Enum):
            kind = str
        if kind is str and default is not EMPTY:
            default = _text(default)
        if kind is bool and default is not False:
            flag = f"{flag}/--no-{flag[2:]}"
        texts: dict[str, Any] = {"help": spelled(self.help.text), "min": self.help.min, "max": self.help.max}
        texts["rich_help_panel"] = "Arguments" if self.help.is_argument else self.heading
        info = typer.Argument(**texts) if self.help.is_argument else typer.Option(flag, **texts)
        if default is None:
            kind |= None
        return inspect.Parameter(
            self.key, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, info], default=default
        )

    def is_given(self, value: Any) -> bool:
        """Return whether Typer's `value` was given, or is its default."""
        return bool(value) if self.help.value is not None else value is not None

    def value(self, argument: Any) -> Any:
        """Return the value of the parameter or field."""
        if self.help.value is not None:
            return self.help.value
        if self.help.parse is not None:
            return self.help.parse(argument)
        if isinstance(argument, list):
            return tuple(argument)
        if not issubclass(self.kind, enum.Enum):
            return argument
        members = {member.value: member for member in self.kind}
        if argument not in members:
            raise InputError(f"{self.flag} {argument}: expected one of {', '.join(members)}")
        return members[argument]


def _split(annotation: Any) -> tuple[Any, list[Any]]:
    """Return a type without None and what Annotated says of it."""
    kind, *metadata = typing.get_args(annotation) if typing.get_origin(annotation) is Annotated else (annotation,)
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        (kind,) = [each for each in typing.get_args(kind) if each is not types.NoneType]
    return kind, metadata


def _text(default: Any) -> str | None:
    """Return a default as people would give it; None where it is none or empty."""
    if isinstance(default, tuple):
        return ",".join(map(str, default)) or None
    if isinstance(default, enum.Enum):
        return str(default.value)
    return None if default is None else str(default)
