"""`inspect`: what an artifact and its engines are made of."""

import pathlib
import shlex
from typing import Annotated

from deepvit.runtime.options import Help

from .terminal.console import check_json, out, print_next, write_json
from .terminal.options import Json


def inspect(
    artifact: Annotated[pathlib.Path, Help("An artifact folder, or a file in it.", is_argument=True)],
    json_path: Json = None,
) -> None:
    """Show what an artifact is, what its engines are made of, and whether they run on this machine; loads nothing."""
    from deepvit.export.words import describe_artifact
    from deepvit.runtime.session import artifact_of
    from deepvit.runtime.trt.machine import this_machine

    check_json(json_path)
    opened = artifact_of(artifact)
    for line in describe_artifact(opened, this_machine()):
        out.print(line)
    write_json(json_path, opened.manifest.to_json)
    for name in opened.manifest.files:
        opened.read(name)  # a changed file is an error, once all has been shown
    written = shlex.quote(str(opened.folder))
    built = bool(opened.manifest.engines)
    print_next(f"{'eval' if built else 'build'} {written}{' --imagenet /data' if built else ''}")
