"""The pod: Triton without rights it does not need, and probes that make a real inference."""

from typing import Any

from .. import layout
from ..flags import ENVIRONMENT, server_flags
from .cluster import FOLDER_IN_VOLUME, GRPC, HTTP, METRICS, MODELS, Cluster
from .text import Object

USER = 1000  # triton-server in NVIDIA's container
PACKAGES = "/packages"  # an environment of Python with what the models import
# Triton's Python processes take the Python that is first on PATH, and no notice of PYTHONPATH. What the image has
# already is not installed again; where that is all, nobody is asked for anything.
INSTALL = (
    f"python3 -m venv --system-site-packages --without-pip {PACKAGES} && "
    f'{PACKAGES}/bin/python3 -m pip install --no-cache-dir --disable-pip-version-check "$@"'
)
# By NVIDIA's entry point where the image has it, which looks for a driver's compatibility libraries.
START = f'PATH={PACKAGES}/bin:$PATH exec $(command -v /opt/nvidia/nvidia_entrypoint.sh) "$@"'
PROBE_SECONDS, TIMEOUT_SECONDS = 10, 15  # the probe's own limit comes first, and says why
SHARED_MEMORY = "1Gi"  # Triton's Python models get their tensors through it; 64 MiB if nothing is said
SCRATCH = {"tmp": "/tmp", "shm": "/dev/shm", "packages": PACKAGES}  # noqa: S108 - all that is written


def pod_spec(cluster: Cluster) -> Object:
    """Return the pod of the Deployment."""
    models: Object = {"name": "models", "mountPath": MODELS, "subPath": FOLDER_IN_VOLUME, "readOnly": True}
    claim: Object = {"claimName": cluster.claim, "readOnly": True}
    return {
        # Asked for by a file of the volume: pods wait where that is not filled yet.
        **shared_spec(cluster, ["--requirement", f"{MODELS}/{layout.REQUIREMENTS}"], [models]),
        "containers": [
            {
                "name": "tritonserver",
                "image": cluster.image,
                "args": ["tritonserver", f"--model-repository={MODELS}", *server_flags(cluster.engine, MODELS)],
                "ports": [
                    {"name": "http", "containerPort": HTTP},
                    {"name": "grpc", "containerPort": GRPC},
                    {"name": "metrics", "containerPort": METRICS},
                ],
                **server(cluster, MODELS, HTTP, [models]),
                # While it sleeps the Service forgets the pod; Triton then answers what it has, for 30 s.
                "lifecycle": {"preStop": {"exec": {"command": ["sleep", "5"]}}},
            }
        ],
        "volumes": [{"name": "models", "persistentVolumeClaim": claim}, *scratch_volumes()],
    }


def shared_spec(cluster: Cluster, packages: list[str], mounts: list[Object]) -> Object:
    """Return what is the same of every pod of the server: rights, packages that pip installs first, nodes."""
    spec: Object = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 45,
        "securityContext": pod_security(),
        "initContainers": [_installer(cluster, packages, mounts)],
    }
    return spec | _gpu_nodes(cluster)


def server(cluster: Cluster, models: str, port: int, mounts: list[Object]) -> Object:
    """Return what is the same of every container of the server, with the repository in `models`, HTTP at `port`."""
    return {
        "command": ["sh", "-c", START, "sh"],  # what is started follows as args
        "env": _variables({**ENVIRONMENT, "HOME": SCRATCH["tmp"]}),
        "resources": _resources(cluster),
        "volumeMounts": [*mounts, *_scratch_mounts("tmp", "shm"), *_scratch_mounts("packages", is_read_only=True)],
        "securityContext": container_security(),
        **probes(models, port),
    }


def probes(models: str, port: int) -> Object:
    """Return the three probes: Triton's own readiness does not see that a Python process died.

    An overloaded server fails the first ones: the Service then leaves the pod out, and only 90 s later is it restarted.
    """
    command = ["python3", f"{models}/{layout.PROBE}", f"http://127.0.0.1:{port}", str(PROBE_SECONDS)]
    probe: Object = {"exec": {"command": command}, "timeoutSeconds": TIMEOUT_SECONDS}
    return {
        "startupProbe": probe | {"periodSeconds": 10, "failureThreshold": 60},
        "readinessProbe": probe | {"periodSeconds": 10, "failureThreshold": 2},
        "livenessProbe": probe | {"periodSeconds": 30, "failureThreshold": 3},
    }


def scratch_volumes() -> list[Object]:
    """Return the volumes of what the server may write, each with a limit."""
    limits: dict[str, Object] = {
        "tmp": {"sizeLimit": "1Gi"},
        "shm": {"medium": "Memory", "sizeLimit": SHARED_MEMORY},
        "packages": {"sizeLimit": "2Gi"},
    }
    return [{"name": name, "emptyDir": limits[name]} for name in SCRATCH]


def pod_security() -> Object:
    """Return a pod's rights, by the restricted Pod Security Standard."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> Object:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def _installer(cluster: Cluster, packages: list[str], mounts: list[Object]) -> Object:
    """Return the container that installs what the image lacks for the Python models; nothing where it has it all."""
    small = {"cpu": "100m", "memory": "512Mi"}
    return {
        "name": "packages",
        "image": cluster.image,
        "args": ["sh", "-c", INSTALL, "install", *packages],
        "env": _variables({"HOME": SCRATCH["tmp"]}),
        "resources": {"requests": small, "limits": {"memory": "1Gi"}},
        "volumeMounts": [*mounts, *_scratch_mounts("tmp", "packages")],
        "securityContext": container_security(),
    }


def _resources(cluster: Cluster) -> Object:
    gpus: Object = {} if cluster.engine is None else {"nvidia.com/gpu": 1}
    return {
        "requests": {"cpu": "2", "memory": cluster.memory},
        "limits": {"memory": cluster.memory, **gpus},  # requested too, by Kubernetes' own rule
    }


def _gpu_nodes(cluster: Cluster) -> Object:
    """Return which nodes suit an engine, as far as GPU Feature Discovery labels them."""
    if cluster.engine is None:
        return {}
    terms = []
    for capability in cluster.engine.compute_capability.split(","):
        major, minor = capability.split(".")
        wanted = {"nvidia.com/gpu.compute.major": major, "nvidia.com/gpu.compute.minor": minor}
        rules = [{"key": key, "operator": "In", "values": [value]} for key, value in wanted.items()]
        terms.append({"weight": 100, "preference": {"matchExpressions": rules}})
    return {
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": terms}},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    }


def _scratch_mounts(*names: str, is_read_only: bool = False) -> list[Object]:
    rule = {"readOnly": True} if is_read_only else {}
    return [{"name": name, "mountPath": SCRATCH[name], **rule} for name in names]


def _variables(values: dict[str, str]) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in values.items()]
