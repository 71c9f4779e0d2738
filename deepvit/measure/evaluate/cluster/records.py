"""Blocks handed out on a cluster, and what is found of them.

What comes back is what this process would have found: it alone writes a journal, so that a run here goes on where one
on a cluster ended, and the other way round. A decoder or an actor that is killed, or a node that is lost, costs the
blocks it had, which are run again.
"""

from collections.abc import Generator, Iterable

from .connection import connected
from .crew import Crew
from .errors import RETRIES
from .job import ClusterJob, Found, Task
from .node import decoded

DECODER_CPUS = 0.95  # all cores decode, but for what the actors take
AHEAD = 2  # blocks under way for each core and actor, so that none waits for the next


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
    with connected(address) as ray:
        reference = [ray.put(job)]  # in a list, Ray hands it over as it is, and a process fetches it once
        crew = Crew(ray, actors, reference)
        decode = ray.remote(num_cpus=DECODER_CPUS, max_retries=RETRIES)(decoded)
        most = AHEAD * (crew.actors + int(ray.cluster_resources().get("CPU", 1)))
        for task in tasks:
            if crew.under_way >= most:
                yield crew.next_found()
            crew.give(decode.remote(reference, task))
        while crew.under_way:
            yield crew.next_found()
