"""Two dozen faces of Debian 12's packages of fonts, faces.txt: those that are trained on, and three that are not."""

import dataclasses
import pathlib

BELOW = "usr/share/fonts"


@dataclasses.dataclass(frozen=True)
class Face:
    """The first face of a package's file; `file` is below usr/share/fonts, `sha256` its hash."""

    package: str
    file: str
    sha256: str


def _faces(split: str) -> tuple[Face, ...]:
    lines = pathlib.Path(__file__).with_name("faces.txt").read_text(encoding="ascii").splitlines()
    return tuple(Face(*fields) for first, *fields in map(str.split, lines) if first == split)


TRAINED = _faces("trained")
HELD_OUT = _faces("held-out")  # by a felt pen, rounded, and with serifs
