"""The objects that serve a repository, by the files that they are written to."""

from typing import Any

from .cluster import FOLDER_IN_VOLUME, GRPC, HTTP, METRICS, Cluster
from .pod import container_security, pod_security, pod_spec
from .text import Object

KUSTOMIZATION = "kustomization.yaml"
CLAIM, LOADER, ADAPTER = "claim.yaml", "loader.yaml", "prometheus-adapter.yaml"
VOLUME = "/volume"  # where the loader has it
LEAST_PODS, MOST_PODS = 2, 8  # two, so that one can be moved while the other serves
QUEUE_METRIC = "triton_queue_milliseconds"  # of a request on average, as ADAPTER makes it
MOST_QUEUE_MILLISECONDS = 50  # more pods beyond it; the models' own wait for a batch is 2
MONITORING = "monitoring"  # the namespace that Prometheus is expected in
# Of every request through all models, by the requests of the model that has most, which is the ensemble's number.
QUEUE_QUERY = (
    "sum(rate(nv_inference_queue_duration_us{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>) / 1000 / "
    "clamp_min(max(rate(nv_inference_request_success{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>), 0.01)"
)


def served_objects(cluster: Cluster) -> dict[str, Object]:
    """Return file → object of what `kubectl apply -k` brings up."""
    return {
        CLAIM: _claim(cluster),
        "deployment.yaml": _deployment(cluster),
        "service.yaml": _service(cluster),
        "autoscaler.yaml": _autoscaler(cluster),
        "disruption.yaml": _disruption(cluster),
        "network.yaml": _network(cluster),
    }


def kustomization(files: list[str]) -> Object:
    return {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": files}


def loader(cluster: Cluster) -> Object:
    """Return the pod through which the repository is copied into its volume; it ends by itself after an hour."""
    container: Object = {
        "name": "loader",
        "image": cluster.image,
        "args": ["sh", "-c", f"mkdir -p {VOLUME}/{FOLDER_IN_VOLUME} && exec sleep 3600"],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "volumeMounts": [{"name": "models", "mountPath": VOLUME}],
        "securityContext": container_security(),
    }
    spec: Object = {
        "automountServiceAccountToken": False,
        "restartPolicy": "Never",
        "securityContext": pod_security(),
        "containers": [container],
        "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": cluster.claim}}],
    }
    # Without the labels by which the Service would take it for a server.
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"{cluster.name}-loader"}, "spec": spec}


def adapter_rule() -> Object:
    """Return what the chart prometheus-adapter takes as values to make of Triton's counters what scales the pods."""
    rule: Object = {
        "seriesQuery": 'nv_inference_queue_duration_us{namespace!="",pod!=""}',
        "resources": {"overrides": {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}},
        "name": {"as": QUEUE_METRIC},
        "metricsQuery": QUEUE_QUERY,
    }
    return {"rules": {"custom": [rule]}}


def _object(cluster: Cluster, version: str, kind: str, spec: Object, name: str = "") -> Object:
    metadata = {"name": name or cluster.name, "labels": cluster.labels}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def _claim(cluster: Cluster) -> Object:
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": cluster.storage}}}
    return _object(cluster, "v1", "PersistentVolumeClaim", spec, name=cluster.claim)


def _deployment(cluster: Cluster) -> Object:
    annotations = {
        "repository-sha256": cluster.revision,
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(METRICS),
        "prometheus.io/path": "/metrics",
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": cluster.labels},
    }
    pod = pod_spec(cluster) | {"topologySpreadConstraints": [spread]}
    spec: Object = {  # without replicas, which are the autoscaler's
        "selector": {"matchLabels": cluster.labels},
        "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},  # one more GPU may not be there
        "template": {"metadata": {"labels": cluster.labels, "annotations": annotations}, "spec": pod},
    }
    return _object(cluster, "apps/v1", "Deployment", spec)


def _service(cluster: Cluster) -> Object:
    ports = [_port("http", HTTP), _port("grpc", GRPC), _port("metrics", METRICS)]
    return _object(cluster, "v1", "Service", {"selector": cluster.labels, "ports": ports})


def _port(name: str, number: int) -> Object:
    return {"name": name, "port": number, "targetPort": name}


def _autoscaler(cluster: Cluster) -> Object:
    target = {"type": "AverageValue", "averageValue": str(MOST_QUEUE_MILLISECONDS)}
    spec: Object = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": cluster.name},
        "minReplicas": LEAST_PODS,
        "maxReplicas": MOST_PODS,
        "metrics": [{"type": "Pods", "pods": {"metric": {"name": QUEUE_METRIC}, "target": target}}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
    }
    return _object(cluster, "autoscaling/v2", "HorizontalPodAutoscaler", spec)


def _disruption(cluster: Cluster) -> Object:
    spec: Object = {"maxUnavailable": 1, "selector": {"matchLabels": cluster.labels}}
    return _object(cluster, "policy/v1", "PodDisruptionBudget", spec)


def _network(cluster: Cluster) -> Object:
    """Return who may talk to the pods, Triton having no authentication, and to whom they may talk."""
    clients: Object = {"from": [{"podSelector": {}}], "ports": _tcp(HTTP, GRPC)}
    prometheus: Object = {"from": [_namespace(MONITORING)], "ports": _tcp(METRICS)}
    names: Object = {"to": [_namespace("kube-system")], "ports": [{"protocol": "UDP", "port": 53}, *_tcp(53)]}
    # For pip; not to the addresses at which clouds hand out credentials.
    anywhere = {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}
    spec: Object = {
        "podSelector": {"matchLabels": cluster.labels},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [clients, prometheus],
        "egress": [names, {"to": [{"ipBlock": anywhere}], "ports": _tcp(443)}],
    }
    return _object(cluster, "networking.k8s.io/v1", "NetworkPolicy", spec)


def _namespace(name: str) -> Object:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _tcp(*ports: int) -> list[dict[str, Any]]:
    return [{"protocol": "TCP", "port": port} for port in ports]
