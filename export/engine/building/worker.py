"""The process in which an engine is built, so that a crash or an out-of-memory in the builder ends it alone.

    python -m deepvit.export.engine.building.worker FOLDER

reads `job.json` and `model.onnx` in FOLDER, prints progress as JSON lines, and leaves there `engine.plan`,
`network.json` (the layers as parsed), `plugin.json` where it loaded a plugin, `listing.txt` where the library logged
the finished engine's layers, and where a GPU can run the engine `inspector.json` and `logits.npy`. It decides nothing:
whoever started it judges what it left. An error that it foresees is the last line it prints.
"""

import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import sys
from typing import Any

import numpy as np

from deepvit.runtime.artifact.manifest import Backend, BatchRange, HardwareCompatibility
from deepvit.runtime.errors import DeviceError, InputError, MissingError
from deepvit.runtime.trt.library import Library, load_library, logger_of
from deepvit.runtime.trt.plugin import load_named_plugin

from ..layers import LISTING
from ..options import EngineOptions
from .network import EngineBuilder
from .stand_in import register_stand_in

ERRORS = {kind.__name__: kind for kind in (DeviceError, InputError, MissingError)}
ONNX, PLAN, NETWORK, INSPECTOR = "model.onnx", "engine.plan", "network.json", "inspector.json"
JOB, IMAGES, LOGITS, LISTED, PLUGIN = "job.json", "images.npy", "logits.npy", "listing.txt", "plugin.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What to build.

    `is_run` asks for the finished engine's layers, and for its logits of `images.npy`; `is_fused` for the plugin of
    fused re-attention; `has_stand_in` for an engine that cannot run, with a layer in its place that computes nothing.
    """

    options: EngineOptions
    batch: BatchRange
    timing_cache: pathlib.Path | None
    is_run: bool
    is_fused: bool = False
    has_stand_in: bool = False

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, BatchRange):
        return value.model_dump()
    return value.value if hasattr(value, "value") else str(value)


def job_from_json(text: str) -> Job:
    """Read what `Job.to_json` wrote."""
    fields = json.loads(text)
    options = fields["options"]
    options["backend"] = Backend(options["backend"])
    options["hardware_compatible"] = HardwareCompatibility(options["hardware_compatible"])
    options["compute_capabilities"] = tuple(options["compute_capabilities"])
    options["timing_cache"] = None  # the job has the path that was settled on
    options["batch"] = None
    cache = fields["timing_cache"]
    return Job(
        options=EngineOptions(**options),
        batch=BatchRange(**fields["batch"]),
        timing_cache=None if cache is None else pathlib.Path(cache),
        is_run=fields["is_run"],
        is_fused=fields["is_fused"],
        has_stand_in=fields["has_stand_in"],
    )


def work(folder: pathlib.Path) -> None:
    """Do the job in `folder`."""
    job = job_from_json((folder / JOB).read_text(encoding="utf-8"))
    onnx = (folder / ONNX).read_bytes()
    library = load_library(job.options.backend)
    if job.has_stand_in:
        register_stand_in(library.trt)
    elif job.is_fused and (plugin := load_named_plugin(library)) is not None:
        (folder / PLUGIN).write_text(plugin.of_engine.model_dump_json(), encoding="utf-8")
    log = logger_of(library)
    listings: list[str] = []  # TensorRT-RTX says what layers an engine has once it is built
    log.listen = lambda message: listings.append(message) if message.startswith(LISTING) else None
    _say(phase="parsing", share=0.0)
    builder = EngineBuilder(library, onnx, log)
    layers = [dataclasses.asdict(layer) for layer in builder.layers()]
    (folder / NETWORK).write_text(json.dumps(layers), encoding="utf-8")
    _say(parsed=True, version=library.version)
    plan = builder.build(job.options, job.batch, job.timing_cache, lambda phase, share: _say(phase=phase, share=share))
    (folder / PLAN).write_bytes(plan)
    if listings:
        (folder / LISTED).write_text(listings[-1], encoding="utf-8")
    if job.is_run:
        _say(phase="running the engine", share=1.0)
        _run(plan, onnx if job.options.weight_stripped else None, job, library, folder)
    if job.has_stand_in:
        os._exit(0)  # TensorRT would use layers of ours that Python has taken down


def _run(plan: bytes, weights: bytes | None, job: Job, library: Library, folder: pathlib.Path) -> None:
    """Load the engine that was just built, and leave its layers and its logits."""
    from deepvit.runtime.trt.cuda import Cuda
    from deepvit.runtime.trt.engine import EngineOnGpu
    from deepvit.runtime.trt.session import TensorRtSession

    # The host code of a version-compatible plan is TensorRT's own, built a moment ago in this process.
    is_own_host_code = job.options.version_compatible
    engine = EngineOnGpu(
        plan, library, Cuda(), name=PLAN, allow_host_code=is_own_host_code, refit_from=weights, leases=1
    )
    (folder / INSPECTOR).write_text(engine.inspect(), encoding="utf-8")
    with contextlib.closing(TensorRtSession(engine)) as session:
        np.save(folder / LOGITS, session.run(np.load(folder / IMAGES)))


def _say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)  # noqa: T201 - the pipe to whoever started this


def main() -> None:
    """Do the job; an error that was foreseen is said on stdout, and the exit code is 1."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        work(pathlib.Path(sys.argv[1]))
    except tuple(ERRORS.values()) as error:
        _say(error=type(error).__name__, message=str(error))
        sys.exit(1)
    except OSError as error:  # most likely the disk is full
        _say(
            error=MissingError.__name__,
            message=f"the build cannot use {error.filename}: {error.strerror}; name another place with TMPDIR",
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
