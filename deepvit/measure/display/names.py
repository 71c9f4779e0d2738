"""What tables and pictures call models and what runs them: as much as tells them apart, so that lines stay short."""

import pathlib
from collections.abc import Sequence

from deepvit.runtime.ort.arithmetic import ROUNDED

EMULATED = "emulated"  # how a speed is marked that is of arithmetic which rounds every tensor as declared
EMULATION = "every tensor is rounded to its declared type, for accuracy, and that is the speed of nothing that serves"


def short_names(names: Sequence[str]) -> list[str]:
    """Return what models are called: an artifact's folder, a file with its folder, more where two are alike.

    Names that are no paths, of peers and variants, stay as they are.
    """
    return [_shortest(name, names) for name in names]


def _shortest(name: str, names: Sequence[str]) -> str:
    parts = pathlib.PurePosixPath(name).parts
    for count in range(2 if _is_file(name) else 1, len(parts)):
        if sum(pathlib.PurePosixPath(each).parts[-count:] == parts[-count:] for each in set(names)) == 1:
            return "/".join(parts[-count:])
    return name


def _is_file(name: str) -> bool:
    return pathlib.PurePosixPath(name).suffix in (".onnx", ".plan", ".engine")


def class_name(names: Sequence[str], label: int) -> str:
    """Return what a class is called; its number where a result of an older version has no names."""
    return names[label] if names else str(label)


def short_engine(runs_on: str) -> str:
    """Return what runs a model, in few words: ONNX Runtime 1.31.1 CPU."""
    return runs_on.removesuffix(ROUNDED).replace("ExecutionProvider", "")
