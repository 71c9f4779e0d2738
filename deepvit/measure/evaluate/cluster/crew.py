"""The crew of a run: actors on the nodes of a cluster, each of which holds the model."""

import logging
import math
from typing import Any

from .errors import RETRIES, raised_here
from .job import Found
from .node import Actor

logger = logging.getLogger(__name__)
ACTOR_CPUS = 0.01  # an actor goes where there are any, not to a head node without
PLACING_S = 60


class Crew:
    """Actors that have opened the model, and the blocks that they are at; all of it ends with the connection.

    Args:
        ray: The module, connected.
        count: How many actors; one for each GPU, or else for each node, where None.
        job: A list of one reference.

    Raises:
        InputError, MissingError, DeviceError: What a node refused.
    """

    def __init__(self, ray: Any, count: int | None, job: list[Any]) -> None:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        nodes = sum(node["Alive"] and node["Resources"].get("CPU", 0) > 0 for node in ray.nodes()) or 1
        count = count or gpus or nodes
        actor = ray.remote(Actor).options(
            num_cpus=ACTOR_CPUS,
            num_gpus=share_of_gpu(count, gpus),
            scheduling_strategy="SPREAD",
            max_restarts=-1,
            max_task_retries=RETRIES,
        )
        self._ray, self._job = ray, job
        self._share = math.ceil(count / nodes)  # of so many, that share the cores of a node
        self._actors = [actor.remote() for _ in range(count)]
        self._load = [0] * count
        self._under_way: dict[Any, int] = {}  # → which actor has it
        self._open()

    def _open(self) -> None:
        with raised_here(self._ray):
            opened = [actor.open.remote(self._job, self._share) for actor in self._actors]
            _, waiting = self._ray.wait(opened, num_returns=len(opened), timeout=PLACING_S)
            if waiting:
                busy = "%d of %d actors are not there yet; the cluster is busy, or slow"
                logger.warning(busy, len(waiting), len(opened))
            self._ray.get(opened)

    @property
    def actors(self) -> int:
        return len(self._actors)

    @property
    def under_way(self) -> int:
        """How many blocks were given and are not done."""
        return len(self._under_way)

    def give(self, block: Any) -> None:
        """Give a block, or the reference to one that is still being decoded, to the actor that has the fewest."""
        place = min(range(self.actors), key=self._load.__getitem__)
        self._load[place] += 1
        self._under_way[self._actors[place].record.remote(self._job, self._share, block)] = place

    def next_found(self) -> Found:
        """Wait for a block under way, and return what is found of it.

        Raises:
            InputError, MissingError, DeviceError: What a node refused, or what became of it.
        """
        with raised_here(self._ray):
            (done, *_), _ = self._ray.wait(list(self._under_way), num_returns=1)
            found: Found = self._ray.get(done)
        self._load[self._under_way.pop(done)] -= 1
        return found


def share_of_gpu(actors: int, gpus: int) -> float:
    """Return how much of a GPU an actor takes, so that all find room: Ray gives no actor parts of two."""
    return 0 if gpus == 0 else math.floor(1e4 / math.ceil(actors / gpus)) / 1e4
