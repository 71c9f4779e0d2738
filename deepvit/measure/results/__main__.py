"""Writes the JSON Schema of every kind of result: python -m deepvit.measure.results FOLDER."""

import pathlib
import sys

from .kinds import KINDS, schema_text


def main(arguments: list[str]) -> int:
    """Write FOLDER/<kind>.json for every kind."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m deepvit.measure.results FOLDER\n")
        return 2
    folder = pathlib.Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        (folder / f"{kind}.json").write_text(schema_text(kind), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
