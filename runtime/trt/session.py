"""Sessions of TensorRT engines. Safe to call from several threads at once."""

import hashlib
import logging
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..artifact import MANIFEST, MODEL, Artifact
from ..artifact.manifest import Backend, BatchRange, Identity, ReattentionForm, Tensor, names_or_numbers
from ..artifact.self_contained import require_self_contained
from ..errors import InputError
from ..files import read_bounded
from ..session.tensors import (
    Images,
    Logits,
    RunTimes,
    check_images,
    check_logits,
    padded_batch,
    split_batches,
    total_times,
)
from .fit import require_fit
from .kernel_cache import kernel_cache_path
from .library import Library, load_library
from .machine import this_machine
from .plugin import load_named_plugin, require_plugin

if TYPE_CHECKING:
    from .engine import EngineOnGpu
    from .lease_pool import Flight

logger = logging.getLogger(__name__)
MOST_PLAN_BYTES = 8 << 30
DTYPES: dict[str, Literal["float32", "uint8"]] = {"float32": "float32", "uint8": "uint8"}


def open_plan(
    path: pathlib.Path,
    artifact: Artifact | None,
    *,
    trust_unverified: bool = False,
    allow_host_code: bool = False,
    device: int = 0,
) -> "TensorRtSession":
    """Open a plan: its hash first, then whether it fits this machine, then TensorRT.

    Args:
        path: The plan.
        artifact: The artifact that it is part of; None for a plan without a manifest beside it.
        trust_unverified: Load such a plan all the same.
        allow_host_code: Let the plan bring host code, which version-compatible plans need. It runs in this process.
        device: The GPU, as CUDA counts.

    Raises:
        InputError: Not the bytes that were built, or nobody vouches for them, or host code is needed and not allowed.
        MissingError: This machine cannot run it.
        DeviceError: TensorRT refused the plan.
    """
    if artifact is None:
        return _open_unverified(path, trust_unverified, allow_host_code, device)
    plan = artifact.read(path.name)
    record = artifact.engine(path.name)
    if record.version_compatible and not allow_host_code:
        raise InputError(
            f"{path} is version-compatible: TensorRT loads it by host code within the plan; if you trust whoever built "
            "it, add ‹allow_host_code›"
        )
    require_fit(record, this_machine(device), str(artifact.folder))
    weights = artifact.read(MODEL) if record.weight_stripped else None
    if weights is not None:
        require_self_contained(weights, str(artifact.folder / MODEL))
    sha256 = artifact.manifest.files[path.name].sha256
    is_fused = artifact.manifest.graph.reattention is ReattentionForm.FUSED

    def prepare(library: Library, compute_capability: str) -> None:
        if is_fused or record.plugin is not None:
            require_plugin(library, str(path), compute_capability=compute_capability, built_with=record.plugin)

    engine = _load(plan, sha256, record.backend, path, allow_host_code, weights, device, prepare)
    return TensorRtSession(engine, artifact.manifest)


def _open_unverified(
    path: pathlib.Path, trust_unverified: bool, allow_host_code: bool, device: int
) -> "TensorRtSession":
    if not trust_unverified:
        raise InputError(
            f"{path} has no {MANIFEST} beside it: nobody says what it is, and a plan is executable code; keep it in "
            "its artifact's folder, or add ‹trust_unverified› if you know where it comes from"
        )
    plan = read_bounded(path, MOST_PLAN_BYTES, "a plan")
    sha256 = hashlib.sha256(plan).hexdigest()
    logger.warning("%s is not verified; its SHA-256 is %s", path, sha256)
    backend = Backend.TENSORRT_RTX if path.name.endswith(Backend.TENSORRT_RTX.plan) else Backend.TENSORRT
    # Nothing says whether it needs the plugin.
    return TensorRtSession(_load(plan, sha256, backend, path, allow_host_code, None, device, load_named_plugin))


def _load(
    plan: bytes,
    sha256: str,
    backend: Backend,
    path: pathlib.Path,
    allow_host_code: bool,
    weights: bytes | None,
    device: int,
    prepare: Callable[[Library, str], object],
) -> "EngineOnGpu":
    library = load_library(backend)
    from .cuda import Cuda  # a library of its own
    from .engine import EngineOnGpu

    cuda = Cuda(device)
    is_rtx = backend is Backend.TENSORRT_RTX
    prepare(library, cuda.compute_capability)
    return EngineOnGpu(
        plan,
        library,
        cuda,
        name=str(path),
        allow_host_code=allow_host_code,
        refit_from=weights,
        kernel_cache=kernel_cache_path(sha256, library.version, cuda) if is_rtx else None,
    )


class TensorRtSession:
    """An engine with one input of images and float32 logits as its one output.

    Raises:
        InputError: Not such an engine.
    """

    def __init__(self, engine: "EngineOnGpu", identity: Identity | None = None) -> None:
        self.engine, self.identity, self.is_emulated = engine, identity, False
        self.batch: BatchRange = engine.batch
        inputs = [b for b in engine.bindings if b.is_input]
        outputs = [b for b in engine.bindings if not b.is_input]
        signature = ", ".join(f"{b.name} {b.dtype} {b.shape}" for b in engine.bindings)
        if len(inputs) != 1 or inputs[0].dtype.name not in DTYPES or len(inputs[0].shape) != 3:
            raise InputError(f"{engine.name} has {signature}; expected one input of 4-D float32 or uint8 images")
        if len(outputs) != 1 or outputs[0].dtype.name != "float32" or len(outputs[0].shape) != 1:
            raise InputError(f"{engine.name} has {signature}; expected one output of float32 logits (B, classes)")
        batch: int | str = "batch" if self.batch.min != self.batch.max else self.batch.max
        self.input = Tensor(name=inputs[0].name, shape=(batch, *inputs[0].shape), dtype=DTYPES[inputs[0].dtype.name])
        self.classes = outputs[0].shape[0]
        self._output = outputs[0].name
        self.last_end = 0.0  # when the run ended that ended last, by time.perf_counter

    @property
    def class_names(self) -> tuple[str, ...]:
        return names_or_numbers(self.identity, self.classes)

    @property
    def description(self) -> str:
        library = self.engine.library
        graphs = "" if self.engine.why_no_graphs is None else ", without CUDA graphs"
        capability = self.engine.cuda.compute_capability
        return f"{library.backend.value} {library.version} on compute capability {capability}{graphs}"

    @property
    def at_once(self) -> int:
        """See `runtime.session.Overlapping.at_once`."""
        return self.engine.leases.most

    def run(self, images: Images) -> Logits:
        """See `runtime.session.Session.run`."""
        return self.submit(images).result()

    def submit(self, images: Images) -> "EngineRun":
        """See `runtime.session.Overlapping.submit`."""
        check_images(images, self.input)
        begun = time.perf_counter()
        # Batches are padded where the profile does not reach so low.
        batches = [padded_batch(part, self.batch.min) for part in split_batches(images, self.batch.max)]
        flights = [self.engine.submit({self.input.name: batch}) for batch in batches]
        return EngineRun(self, flights, len(images), begun)

    def collect(self, flights: "Sequence[Flight]", count: int) -> Logits:
        """Return the logits (count, classes) of the batches of a run, not finite ones included."""
        logits = np.concatenate([flight.outputs()[self._output] for flight in flights])
        return np.asarray(logits[:count], np.float32)

    def inspect(self) -> str:
        """See `runtime.trt.EngineOnGpu.inspect`."""
        return self.engine.inspect()

    def close(self) -> None:
        """Free the engine."""
        self.engine.close()


class EngineRun:
    """A run that was begun; see `runtime.session.Pending`.

    Args:
        session: What runs it.
        flights: Its batches, which are under way.
        count: How many images it has.
        begun: When it was begun, by time.perf_counter.
    """

    def __init__(self, session: TensorRtSession, flights: "Sequence[Flight]", count: int, begun: float) -> None:
        self._session, self._flights, self._count, self._begun = session, flights, count, begun
        self.seconds = 0.0
        self.times: RunTimes | None = None

    def result(self) -> Logits:
        """See `runtime.session.Pending.result`."""
        logits = self._session.collect(self._flights, self._count)
        if self.times is None:
            self._note_times()
        return check_logits(logits, self._session.engine.name)

    def _note_times(self) -> None:
        """Take what it took by itself, or since the run before it ended where the two overlapped, whichever is less."""
        end = time.perf_counter()
        self.times = total_times([flight.times for flight in self._flights if flight.times is not None])
        alone_s = (self.times.staging_ms + self.times.device_ms) / 1e3
        self.seconds = min(alone_s, end - max(self._begun, self._session.last_end))
        self._session.last_end = end
