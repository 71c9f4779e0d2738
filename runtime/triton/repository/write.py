"""Artifact → model repository: a folder that appears whole or not at all."""

import importlib.metadata
import json
import os
import pathlib
import shutil
from collections.abc import Callable

from ...artifact import Artifact, record_file
from ...files.staging import staged_folder
from .. import layout
from ..options import RepositoryOptions, TritonBackend
from .guide import guide
from .models import write_classify, write_ensemble, write_model, write_plugin, write_preprocess
from .plan import RepositoryPlan, plan_repository
from .python_models import RUNTIME

REQUIRED = ("numpy", "pillow", "pydantic")
REQUIRED_BY_PYTHON = ("ml_dtypes", "onnx", "onnxruntime")


def write_repository(artifact: Artifact, options: RepositoryOptions, spelled: Callable[[str], str] = str) -> list[str]:
    """Write the repository and return the names of its models.

    Args:
        artifact: What it serves.
        options: How.
        spelled: Spells in the guide what errors.py says of names, for its readers.

    Raises:
        InputError: The artifact lacks what is asked for, or `options.output` cannot be written.
        MissingError: The disk has no room.
    """
    return write_planned(plan_repository(artifact, options), spelled)


def write_planned(plan: RepositoryPlan, spelled: Callable[[str], str] = str) -> list[str]:
    """Write what was planned, as `write_repository` does."""
    with staged_folder(plan.options.output, marker=layout.RECORD, option="‹triton›") as folder:
        for backend in plan.backends:
            write_model(folder, plan, backend)
        write_preprocess(folder, plan)
        write_classify(folder, plan)
        write_ensemble(folder, plan)
        (folder / layout.REQUIREMENTS).write_text("".join(f"{each}\n" for each in requirements(plan)), encoding="ascii")
        if plan.serves_plugin:
            write_plugin(folder, plan)
        (folder / layout.GUIDE).write_text(spelled(guide(plan)), encoding="utf-8")
        shutil.copyfile(RUNTIME / "triton" / layout.PROBE, folder / layout.PROBE)
        _write_record(folder, plan)
    return plan.models


def requirements(plan: RepositoryPlan) -> list[str]:
    """Return what the Python models import, in the versions that are installed here, as pip takes it."""
    packages = [*REQUIRED, *(REQUIRED_BY_PYTHON if TritonBackend.PYTHON in plan.backends else ())]
    return [f"{package}=={importlib.metadata.version(package)}" for package in packages]


def _write_record(folder: pathlib.Path, plan: RepositoryPlan) -> None:
    files = {
        path.relative_to(folder).as_posix(): record_file(path).model_dump()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    record = {"schema": 1, "ensemble": plan.names.ensemble, "served": plan.served.value, "files": files}
    (folder / layout.RECORD).write_text(json.dumps(record, indent=1) + os.linesep, encoding="utf-8")
