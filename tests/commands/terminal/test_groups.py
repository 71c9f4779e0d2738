"""Dataclasses as groups of options: what Typer is shown of them, and what the command is given."""

import dataclasses
import enum
import pathlib
from typing import Annotated

import pytest
import typer.testing

from deepvit.commands.terminal.groups import with_options
from deepvit.runtime.errors import InputError
from deepvit.runtime.options import Help, Without


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass(frozen=True)
class Size:
    side: int

    def __str__(self):
        return f"{self.side}x"


def size_from_text(text: str) -> Size:
    return Size(int(text.rstrip("x")))


def drop(points: float) -> tuple:
    return ("drop", points)


def agreement(percent: float) -> tuple:
    return ("agreement", percent)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paint:
    colour: Annotated[Colour, Help("red or blue.")] = Colour.RED
    kind: Annotated[
        Colour, Help("In red.", name="in_red", value=Colour.RED), Help("In blue.", name="in_blue", value=Colour.BLUE)
    ] = Colour.RED
    size: Annotated[Size, Help("How large.", parse=size_from_text)] = Size(8)
    glossy: Annotated[bool, Help("Whether it shines.")] = False
    dry: Annotated[bool | None, Help("Whether it is dry.")] = None
    layers: Annotated[int | None, Help("How many layers.", name="coats", min=1, max=9)] = None
    budget: Annotated[
        tuple | None,
        Help("Points.", name="max_drop", parse=drop),
        Help("Percent.", name="min_agreement", parse=agreement),
    ] = None
    hidden: int = 7
    primer: Size | None = None

    def __post_init__(self):
        if self.glossy and self.dry:
            raise InputError("--glossy is not --dry")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wall:
    names: Annotated[tuple[str, ...], Help("Its names.", is_argument=True)]
    house: Annotated[str, Help("Where it stands.", name="at")]
    paint: Annotated[Paint, Without("size", "budget")] = dataclasses.field(default_factory=Paint)


def run(command, *arguments):
    """What the command was given, and its help."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(with_options(command))
    return typer.testing.CliRunner().invoke(app, list(arguments), env={"COLUMNS": "120"})


def given(*arguments):
    """The objects that a command with two groups is given."""
    calls = []

    def command(wall: Wall, colour_of_door: Annotated[Colour | None, Help("Of the door.")] = None) -> None:
        """Paint a wall."""
        calls.append((wall, colour_of_door))

    result = run(command, *arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return calls[0]


def paint(*arguments):
    calls = []

    def command(paint: Paint) -> None:
        calls.append(paint)

    result = run(command, *arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return calls[0] if calls else result


def test_defaults_are_the_dataclasses_own():
    assert paint() == Paint()
    wall, door = given("north", "south", "--at", "home")
    assert wall == Wall(names=("north", "south"), house="home")
    assert door is None


def test_every_form_of_an_option():
    assert paint("--colour", "blue").colour is Colour.BLUE
    assert paint("--in-blue").kind is Colour.BLUE
    assert paint("--size", "3x").size == Size(3)
    assert paint("--glossy").glossy is True
    assert [paint(flag).dry for flag in ("--dry", "--no-dry")] == [True, False]
    assert paint("--coats", "2").layers == 2
    assert paint("--max-drop", "0.5").budget == ("drop", 0.5)
    assert given("a", "--at", "b", "--colour", "blue", "--colour-of-door", "red") == (
        Wall(names=("a",), house="b", paint=Paint(colour=Colour.BLUE)),
        Colour.RED,
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--colour", "green"], "--colour green: expected one of red, blue"),
        (["--in-red", "--in-blue"], "--in-red and --in-blue exclude each other; give one of them"),
        (["--max-drop", "0", "--min-agreement", "9"], "--max-drop and --min-agreement exclude each other"),
        (["--glossy", "--dry"], "--glossy is not --dry"),
    ],
)
def test_refusals_are_errors_of_the_input(arguments, expected):
    with pytest.raises(InputError, match=expected):
        paint(*arguments)


@pytest.mark.parametrize("arguments", [["--coats", "0"], ["--hidden", "1"], ["--no-glossy"], ["--layers", "1"]])
def test_what_typer_refuses(arguments):
    assert paint(*arguments).exit_code == 2


def test_help_stands_at_the_fields():
    def command(wall: Wall) -> None:
        """Paint a wall."""

    shown = " ".join(run(command, "--help").output.split())
    assert "Paint a wall." in shown
    assert "names... <list[str]> Its names. [required]" in shown
    assert "--at <str> Where it stands. [required]" in shown
    assert "--colour <str> red or blue. [default: red]" in shown
    assert "--in-red In red. --in-blue In blue." in shown
    assert "--dry / --no-dry Whether it is dry." in shown
    assert "--coats <int range> How many layers. [1<=x<=9]" in shown
    assert "--size" not in shown  # left out of the group
    assert "--max-drop" not in shown

    def plain(paint: Paint) -> None: ...

    assert "--size <str> How large. [default: 8x]" in " ".join(run(plain, "--help").output.split())


def test_a_name_that_python_keeps_for_itself():
    calls = []

    def command(include: Annotated[tuple[pathlib.Path, ...], Help("Others.", name="with")] = ()) -> None:
        calls.append(include)

    run(command)
    run(command, "--with", "a", "--with", "b")
    assert calls == [(), (pathlib.Path("a"), pathlib.Path("b"))]
