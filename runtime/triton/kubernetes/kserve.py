"""The same repository as an InferenceService of KServe, for clusters that have it."""

from ..flags import server_flags
from .cluster import FOLDER_IN_VOLUME, KSERVE_HTTP, KSERVE_MODELS, Cluster
from .manifests import LEAST_PODS, MOST_PODS
from .pod import scratch_volumes, server, shared_spec
from .text import Object

FOLDER = "kserve"
FILE = f"{FOLDER}/inferenceservice.yaml"
RUNTIME = "kserve-tritonserver"  # KServe's own; its args begin with tritonserver and its ports, and ours are appended


def inference_service(cluster: Cluster) -> Object:
    """Return the InferenceService; the models' folders are at the top of its storage, as the runtime wants them."""
    model: Object = {
        "modelFormat": {"name": "triton", "version": "2"},
        "runtime": RUNTIME,
        "protocolVersion": "v2",
        "storageUri": f"pvc://{cluster.claim}/{FOLDER_IN_VOLUME}",
        "image": cluster.image,
        "args": server_flags(cluster.engine, KSERVE_MODELS),
        **server(cluster, KSERVE_MODELS, KSERVE_HTTP, []),
    }
    predictor: Object = {
        "minReplicas": LEAST_PODS,
        "maxReplicas": MOST_PODS,
        "annotations": {"repository-sha256": cluster.revision},
        **shared_spec(cluster, list(cluster.requirements), []),  # where the storage is not mounted yet
        "model": model,
        "volumes": scratch_volumes(),
    }
    # Without Knative, whose pods may have neither these volumes nor these probes.
    annotations = {"serving.kserve.io/deploymentMode": "RawDeployment"}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": cluster.name, "labels": cluster.labels, "annotations": annotations},
        "spec": {"predictor": predictor},
    }
