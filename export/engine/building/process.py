"""Builds an engine in a process of its own, and tells in one line how that ended."""

import contextlib
import dataclasses
import importlib.util
import json
import logging
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

import deepvit
from deepvit.progress import Share
from deepvit.runtime.artifact.manifest import Backend, EnginePlugin
from deepvit.runtime.errors import DeviceError, MissingError
from deepvit.runtime.session.tensors import Images, Logits
from deepvit.runtime.trt.library import RTX_LIBRARIES_IN

from ..census import Layer
from ..layers import EngineLayer, layers_from_inspector, layers_from_listing
from .stand_in import search_path
from .worker import ERRORS, IMAGES, INSPECTOR, JOB, LISTED, LOGITS, NETWORK, ONNX, PLAN, PLUGIN, Job

logger = logging.getLogger(__name__)
ROOT = pathlib.Path(deepvit.__file__).parent.parent  # where the worker finds the package: a checkout, or site-packages
STDERR_KEPT = 300


@dataclasses.dataclass(frozen=True, kw_only=True)
class Build:
    """What a build left; `inspector` and `logits` where the engine was run, `listing` where the library logged it.

    `plugin` is what its fused re-attention was built with.
    """

    plan: bytes
    version: str
    network: list[Layer]
    inspector: str | None
    logits: Logits | None
    listing: str | None = None
    plugin: EnginePlugin | None = None

    def layers(self) -> list[EngineLayer] | None:
        """Return the finished engine's layers; None where nothing tells them.

        Raises:
            InputError: They are told in a form that is not known here.
        """
        if self.inspector is not None:
            return layers_from_inspector(self.inspector)
        return None if self.listing is None else layers_from_listing(self.listing)


def build_engine(
    onnx: bytes, job: Job, images: Images | None, bar: Share, on_parsed: Callable[[list[Layer]], None]
) -> Build:
    """Build the engine of an ONNX file.

    Args:
        onnx: The file's bytes, verified.
        job: What to build.
        images: What the engine is run on, where `job` asks for that; as its input says.
        bar: Called as the build goes on.
        on_parsed: Called with the network's layers before the build begins; what it raises ends the build.

    Raises:
        InputError: TensorRT does not take the graph.
        MissingError: The library is not here, or there is no room on the disk.
        DeviceError: The builder gave up, ran out of memory or crashed.
        RuntimeError: Its process failed by a mistake of ours.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="deepvit-engine-") as name:
            return _build_in(pathlib.Path(name), onnx, job, images, bar, on_parsed)
    except OSError as error:  # most likely the disk is full
        where = error.filename or tempfile.gettempdir()
        raise MissingError(f"the build cannot use {where}: {error.strerror}; name another place with TMPDIR") from error


def _build_in(
    folder: pathlib.Path,
    onnx: bytes,
    job: Job,
    images: Images | None,
    bar: Share,
    on_parsed: Callable[[list[Layer]], None],
) -> Build:
    (folder / ONNX).write_bytes(onnx)
    (folder / JOB).write_text(job.to_json(), encoding="utf-8")
    if images is not None:
        np.save(folder / IMAGES, images)
    version = _run_worker(folder, _variables(folder, job), bar, on_parsed)
    plugin = _text(folder / PLUGIN)
    return Build(
        plan=(folder / PLAN).read_bytes(),
        version=version,
        network=_network(folder),
        inspector=_text(folder / INSPECTOR),
        listing=_text(folder / LISTED),
        logits=np.load(folder / LOGITS) if (folder / LOGITS).is_file() else None,
        plugin=None if plugin is None else EnginePlugin.model_validate_json(plugin),
    )


def _variables(folder: pathlib.Path, job: Job) -> dict[str, str]:
    """Return further variables of the worker: TensorRT-RTX needs some where its parser meets a plugin."""
    is_rtx_from_pypi = importlib.util.find_spec(RTX_LIBRARIES_IN) is not None
    has_plugin = job.is_fused and job.options.backend is Backend.TENSORRT_RTX and is_rtx_from_pypi
    return search_path(folder) if job.has_stand_in or has_plugin else {}


def _text(path: pathlib.Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _run_worker(
    folder: pathlib.Path, variables: dict[str, str], bar: Share, on_parsed: Callable[[list[Layer]], None]
) -> str:
    """Run the worker to its end, with further variables of its environment, and return TensorRT's version."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as stderr,
        subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "deepvit.export.engine.building.worker", str(folder)],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            encoding="utf-8",
            env=os.environ | {"PYTHONPATH": paths} | variables,
        ) as process,
    ):
        version, failed = "", None
        try:
            assert process.stdout is not None
            for line in process.stdout:
                message = _message(line)
                if "phase" in message:
                    bar(str(message["phase"]), float(message["share"]))
                elif "parsed" in message:
                    version = str(message["version"])
                    on_parsed(_network(folder))
                elif "error" in message:
                    failed = ERRORS[message["error"]](message["message"])
            process.wait()
        finally:
            process.kill()  # of no effect on one that has ended
        stderr.seek(0)
        output = stderr.read()
    if failed is not None:
        raise failed
    if process.returncode > 0:
        raise RuntimeError(f"the engine's process failed: {(output.strip().splitlines() or ['no reason given'])[-1]}")
    if process.returncode < 0:
        raise DeviceError(_crashed(process.returncode, output))
    for line in output.splitlines():
        logger.warning("%s", line)
    return version


def _message(line: str) -> dict[str, str]:
    """Return one message of the worker; whatever else a library printed is not one."""
    with contextlib.suppress(ValueError):
        message = json.loads(line)
        if isinstance(message, dict):
            return message
    return {}


def _network(folder: pathlib.Path) -> list[Layer]:
    records: list[dict[str, Any]] = json.loads((folder / NETWORK).read_text(encoding="utf-8"))
    return [_layer(record) for record in records]


def _layer(record: dict[str, Any]) -> Layer:
    fields: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in record.items()}
    return Layer(**fields)


def _crashed(code: int, stderr: str) -> str:
    """Return in one line how the builder's process died."""
    last = " ".join(stderr.split())[-STDERR_KEPT:]
    reason = f": {last}" if last else ""
    if code == -signal.SIGKILL:
        return f"the engine's builder was killed, most likely because memory ran out; give it less ‹batch›{reason}"
    return f"the engine's builder crashed with {signal.Signals(-code).name}{reason}"
