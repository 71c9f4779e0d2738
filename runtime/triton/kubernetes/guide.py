"""README.md beside the manifests: how to bring them up, and what to look at before."""

from .cluster import FOLDER_IN_VOLUME, Cluster
from .kserve import FOLDER
from .manifests import ADAPTER, CLAIM, LEAST_PODS, LOADER, MONITORING, MOST_QUEUE_MILLISECONDS, QUEUE_METRIC, VOLUME


def guide(cluster: Cluster, repository: str) -> str:
    """Return the text; `repository` is the folder to be copied."""
    return f"""# {cluster.name} on Kubernetes

No cluster has run these files: they were held against the schemas of Kubernetes. In this folder, with the repository
that was written with it:

    kubectl apply -f {CLAIM} -f {LOADER}
    kubectl wait --for=condition=Ready --timeout=15m pod/{cluster.name}-loader
    kubectl cp {repository}/. {cluster.name}-loader:{VOLUME}/{FOLDER_IN_VOLUME}
    kubectl delete -f {LOADER}
    kubectl apply -k .

With KServe instead of the last line: `kubectl apply -k {FOLDER}`. Into a namespace: `-n NAME` after each `kubectl`.
A next repository is copied the same way, and applied with the manifests that were written with it: their
`repository-sha256` is another one, by which the pods are replaced.

Before:

- The container is `{cluster.image}`, as it is. In each pod pip first installs what the
  Python models import, from PyPI. Where a cluster may not ask PyPI, build an image that has it, as
  examples/docker/triton.Dockerfile does, name it with `‹image›`, and take port 443 out of `network.yaml`: pip then
  finds everything there and asks nobody.
- The volume is a claim for {cluster.storage} of the default storage class that several nodes mount (ReadWriteMany).
  Any other volume serves whose folder `{FOLDER_IN_VOLUME}` is the repository; pods mount that read-only.
{_gpus(cluster)}- Memory ({cluster.memory}), processors and numbers of pods are where to start, measured on no
  cluster. {LEAST_PODS} pods at least: with one, a node that is drained takes the service with it.
- The autoscaler reads `{QUEUE_METRIC}`, how long a request queues, and adds pods beyond
  {MOST_QUEUE_MILLISECONDS} on average. It expects Prometheus to scrape the pods, by their annotations or a
  PodMonitor, and the chart prometheus-adapter with the values of `{ADAPTER}`; without them it keeps {LEAST_PODS}.
- `network.yaml` lets pods of the same namespace ask, and the namespace `{MONITORING}` read the metrics; nobody else,
  since Triton has no authentication. It needs a network plugin that heeds policies.
- gRPC keeps one connection to one pod: balance it in the client, or by a mesh.

The probes ask for a real answer (`probe.py` of the repository), since Triton calls a Python model ready whose process
has died. The server is user 1000 without capabilities, and can write nothing but its own volumes.
"""


def _gpus(cluster: Cluster) -> str:
    if cluster.engine is None:
        return ""
    return (
        f"- A pod takes one GPU (`nvidia.com/gpu`) of compute capability {cluster.engine.compute_capability}; the\n"
        "  plan loads on no other. Nodes are preferred by the labels of GPU Feature Discovery.\n"
    )
