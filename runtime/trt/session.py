"""Sessions of TensorRT engines. Safe to call from several threads at once."""

import hashlib
import logging
import pathlib
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..artifact import MANIFEST, MODEL, Artifact
from ..errors import InputError
from ..files import read_bounded
from ..manifest import Backend, BatchRange, Identity, Tensor, names_or_numbers
from ..ort.self_contained import require_self_contained
from ..tensors import Images, Logits, check_images, check_logits, padded_batch, split_batches
from .fit import require_fit
from .kernel_cache import kernel_cache_path
from .library import load_library
from .machine import this_machine

if TYPE_CHECKING:
    from .engine import EngineOnGpu

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
    engine = _load(plan, sha256, record.backend, path, allow_host_code, weights, device)
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
    return TensorRtSession(_load(plan, sha256, backend, path, allow_host_code, None, device))


def _load(
    plan: bytes,
    sha256: str,
    backend: Backend,
    path: pathlib.Path,
    allow_host_code: bool,
    weights: bytes | None,
    device: int,
) -> "EngineOnGpu":
    library = load_library(backend)
    from .cuda import Cuda  # a library of its own
    from .engine import EngineOnGpu

    cuda = Cuda(device)
    is_rtx = backend is Backend.TENSORRT_RTX
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
        self._engine, self.identity, self.is_emulated = engine, identity, False
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

    @property
    def class_names(self) -> tuple[str, ...]:
        return names_or_numbers(self.identity, self.classes)

    @property
    def description(self) -> str:
        library = self._engine.library
        graphs = "" if self._engine.why_no_graphs is None else ", without CUDA graphs"
        capability = self._engine.cuda.compute_capability
        return f"{library.backend.value} {library.version} on compute capability {capability}{graphs}"

    def run(self, images: Images) -> Logits:
        """See `runtime.session.Session.run`."""
        check_images(images, self.input)
        parts = [self._run_batch(part) for part in split_batches(images, self.batch.max)]
        return check_logits(np.concatenate(parts), self._engine.name)

    def _run_batch(self, images: Images) -> Logits:
        """Run one batch, padded where the profile does not reach so low."""
        padded = padded_batch(images, self.batch.min)
        return np.asarray(self._engine.run({self.input.name: padded})[self._output][: len(images)], np.float32)

    def inspect(self) -> str:
        """See `runtime.trt.EngineOnGpu.inspect`."""
        return self._engine.inspect()

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()
