"""Blocks on a Ray cluster: decoded wherever there are cores, run by actors that hold the model, handed back here.

The only file that imports Ray. What comes back is what this process would have found: it alone writes a journal, so
that a run here goes on where one on a cluster ended, and the other way round. A decoder or an actor that is killed, or
a node that is lost, costs the blocks it had, which are run again.
"""

import contextlib
import dataclasses
import functools
import hashlib
import logging
import math
import os
import pathlib
import platform
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Generic, Protocol, TypeVar

import PIL

import deepvit
from deepvit.images.blocks import Block
from deepvit.runtime.errors import DeviceError, InputError, MissingError, needed_for

from .block_store import Arrays

logger = logging.getLogger(__name__)
LOCAL = "local"  # no cluster: Ray is started on this machine, and ends with the run
RETRIES = 3  # of a block whose decoder or actor was killed
DECODER_CPUS, ACTOR_CPUS = 0.95, 0.01  # all cores decode; actors go where there are any, not to a head node without
AHEAD = 2  # blocks under way for each core and actor, so that none waits for the next
PLACING_S, CONNECTING_S = 60, 10
OURS = (InputError, MissingError, DeviceError)
Task = TypeVar("Task")
Found = tuple[int, bytes, Arrays]  # a block's number, its `Block.sha256`, and what is kept of it


@functools.cache
def _own_code() -> str:
    """Return the hash of what answers depend on besides the model: our modules, and Pillow's version."""
    root = pathlib.Path(deepvit.__file__).parent
    digest = hashlib.sha256(PIL.__version__.encode())
    for folder, below, files in os.walk(root, followlinks=True):
        below[:] = sorted(set(below) - {"cpp", "__pycache__"})
        for path in (pathlib.Path(folder) / name for name in sorted(files) if name.endswith(".py")):
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


class BlockRunner(Protocol):
    """A model that was opened."""

    def record(self, block: Block) -> Arrays:
        """Run a block and return what is kept of it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClusterJob(Generic[Task]):
    """What nodes need to know of a run; picklable.

    Attributes:
        decode: Makes a block of a task.
        opener: Opens the model on a node, whose cores it shares with so many others.
        place: A path of an image that every node must have too; None where there is none.
        folder: What relative paths start from.
    """

    decode: Callable[[Task], Block]
    opener: Callable[[int], contextlib.AbstractContextManager[BlockRunner]]
    place: str | None
    folder: str = dataclasses.field(default_factory=os.getcwd)
    code: str = dataclasses.field(default_factory=_own_code)


def records_of_cluster(
    address: str, actors: int | None, job: ClusterJob[Task], tasks: Iterable[Task]
) -> Generator[Found, None, None]:
    """Yield what is found of each task, in any order; a Ray that this process has started already is used, and left.

    Args:
        address: Of the cluster, as `ray.init` takes it; LOCAL for this machine alone.
        actors: That hold the model; one for each GPU, or else for each node, where None.
        job: How blocks are made and run.
        tasks: Taken as there is room for them.

    Raises:
        InputError: What a node refused, or a node that has another model, code or Pillow.
        MissingError: Ray is not installed, no cluster is there, a node lacks something, or a block killed what ran it.
        DeviceError: What a node's GPU refused.
    """
    with _connected(address) as ray:
        reference = [ray.put(job)]  # in a list, Ray hands it over as it is, and a process fetches it once
        crew, share = _crew(ray, actors)
        _open(ray, crew, reference, share)
        decode = ray.remote(num_cpus=DECODER_CPUS, max_retries=RETRIES)(_decoded)
        most = AHEAD * (len(crew) + int(ray.cluster_resources().get("CPU", 1)))
        load = dict.fromkeys(range(len(crew)), 0)
        under_way: dict[Any, int] = {}  # → which actor has it
        for task in tasks:
            if len(under_way) >= most:
                yield _next(ray, under_way, load)
            place = min(load, key=load.__getitem__)
            load[place] += 1
            under_way[crew[place].record.remote(reference, share, decode.remote(reference, task))] = place
        while under_way:
            yield _next(ray, under_way, load)


def _next(ray: Any, under_way: dict[Any, int], load: dict[int, int]) -> Found:
    with _said(ray):
        (done, *_), _ = ray.wait(list(under_way), num_returns=1)
        found: Found = ray.get(done)
    load[under_way.pop(done)] -= 1
    return found


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == LOCAL:  # said before Ray is loaded, it need not say it itself, nor keep a file of it
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    with needed_for("‹ray›"):
        import ray
    if ray.is_initialized():
        yield ray
        return
    here = {"include_dashboard": False} if address == LOCAL else {}
    _require_listening(address)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address, log_to_driver=False, configure_logging=False, logging_level=logging.ERROR, **here)
    except (OSError, RuntimeError, ValueError) as error:
        raise MissingError(f"no Ray at {address}: {(str(error).splitlines() or [''])[0]}") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)  # which Ray takes for itself
    try:
        yield ray
    finally:
        ray.shutdown()


def _require_listening(address: str) -> None:
    """Refuse at once an address where nothing listens, which Ray tries for a quarter of an hour.

    Raises:
        MissingError: Nothing does.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECTING_S).close()
    except (OSError, OverflowError) as error:
        raise MissingError(f"no Ray at {address}: {error}; see what `ray status` says there") from error


def _crew(ray: Any, count: int | None) -> tuple[list[Any], int]:
    """Return the actors, and how many share the cores of a node."""
    gpus = int(ray.cluster_resources().get("GPU", 0))
    nodes = sum(node["Alive"] and node["Resources"].get("CPU", 0) > 0 for node in ray.nodes()) or 1
    count = count or gpus or nodes
    actor = ray.remote(_Actor).options(
        num_cpus=ACTOR_CPUS,
        num_gpus=_share_of_gpu(count, gpus),
        scheduling_strategy="SPREAD",
        max_restarts=-1,
        max_task_retries=RETRIES,
    )
    return [actor.remote() for _ in range(count)], math.ceil(count / nodes)


def _open(ray: Any, crew: list[Any], reference: list[Any], share: int) -> None:
    with _said(ray):
        opened = [actor.open.remote(reference, share) for actor in crew]
        _, waiting = ray.wait(opened, num_returns=len(crew), timeout=PLACING_S)
        if waiting:
            logger.warning("%d of %d actors are not there yet; the cluster is busy, or slow", len(waiting), len(crew))
        ray.get(opened)


def _share_of_gpu(actors: int, gpus: int) -> float:
    """Return how much of a GPU an actor takes, so that all find room: Ray gives no actor parts of two."""
    return 0 if gpus == 0 else math.floor(1e4 / math.ceil(actors / gpus)) / 1e4


@contextlib.contextmanager
def _said(ray: Any) -> Iterator[None]:
    """Raise what a node said as it would be raised here, and what became of a node in a line."""
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        lines = str(error).strip().splitlines() or [""]
        if isinstance(error.cause, ImportError) or "failed to import" in str(error):  # as Ray says it of a whole module
            raise MissingError(f"a node of the Ray cluster lacks what runs here: {lines[-1]}; install it") from error
        raise error.cause or error from error
    except ray.exceptions.RayError as error:
        raise MissingError(
            f"Ray gave up after {RETRIES} more tries ({type(error).__name__}): what runs a block was killed, usually "
            "for want of memory; give fewer ‹actors›, and ‹resume›"
        ) from error


class _Actor:
    """Holds a model on a node, opened when it is first asked for, and again after the actor was killed."""

    def __init__(self) -> None:
        self._held = contextlib.ExitStack()
        self._runner: BlockRunner | None = None

    def open(self, job: list[Any], share: int) -> None:
        with _on_this_node():
            self._runner = self._held.enter_context(_fetched(job[0]).opener(share))

    def record(self, job: list[Any], share: int, block: Block) -> Found:
        if self._runner is None:
            self.open(job, share)
        assert self._runner is not None
        with _on_this_node():
            return block.number, block.sha256, self._runner.record(block)


def _decoded(job: list[Any], task: Any) -> Block:
    with _on_this_node():
        return _fetched(job[0]).decode(task)


@functools.lru_cache(maxsize=1)
def _fetched(reference: Any) -> ClusterJob[Any]:
    """Return a job, fetched once for this process, which must have what it takes.

    Raises:
        InputError: Other code, or another Pillow.
        MissingError: The images are not here.
    """
    import ray

    job: ClusterJob[Any] = ray.get(reference)
    if job.code != _own_code():
        raise InputError("it has another version of deepvit or Pillow than where the run was started; install the same")
    with contextlib.suppress(OSError):
        os.chdir(job.folder)
    if job.place is not None and not pathlib.Path(job.place).exists():
        raise MissingError(f"{job.place} is not there; images and models must lie where every node finds them")
    return job


@contextlib.contextmanager
def _on_this_node() -> Iterator[None]:
    try:
        yield
    except OURS as error:
        raise type(error)(f"node {platform.node()}: {error}") from error
