"""What a cluster would refuse of manifests: by the schemas of Kubernetes, strictly, of kustomize, and of KServe."""

import pathlib
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import yaml

VERSION = "1.34"  # of Kubernetes
# Of an InferenceService, what is KServe's own (config/crd/full/serving.kserve.io_inferenceservices.yaml of kserve/kserve)
# of all that is written; the rest of a predictor is a pod's, and that of a model a container's.
PREDICTOR = {"minReplicas": int, "maxReplicas": int, "annotations": dict}
MODEL = {"modelFormat": dict, "runtime": str, "protocolVersion": str, "storageUri": str}
FORMAT = {"name": str, "version": str}
KUSTOMIZATION = {"apiVersion": str, "kind": str, "resources": list}


def objects_of(folder: pathlib.Path) -> dict[str, Any]:
    """Every manifest by its path in the folder."""
    return {str(path.relative_to(folder)): yaml.safe_load(path.read_text()) for path in sorted(folder.rglob("*.yaml"))}


def faults_of(folder: pathlib.Path) -> list[str]:
    """What would be refused, one line a file."""
    found = []
    for name, value in objects_of(folder).items():
        if name == "prometheus-adapter.yaml":
            continue  # no object, but values of a chart
        check = {"Kustomization": _kustomization_faults, "InferenceService": _inference_service_faults}
        faults = check.get(value.get("kind"), _object_faults)(value)
        found += [f"{name}: {fault}" for fault in faults]
    return found


def _object_faults(value: dict[str, Any]) -> Iterator[str]:
    try:
        kubernetes_validate.validate(value, VERSION, strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.InvalidSchemaError) as error:
        yield str(error).splitlines()[0]


def _kustomization_faults(value: dict[str, Any]) -> Iterator[str]:
    yield from _other_fields(value, KUSTOMIZATION)


def _inference_service_faults(value: dict[str, Any]) -> Iterator[str]:
    yield from _other_fields(value, {"apiVersion": str, "kind": str, "metadata": dict, "spec": dict})
    yield from _other_fields(value["spec"], {"predictor": dict})
    predictor = dict(value["spec"]["predictor"])
    model = dict(predictor.pop("model", {}))
    yield from _other_fields({name: predictor.pop(name, None) for name in PREDICTOR}, PREDICTOR)
    own = {name: model.pop(name, None) for name in MODEL}
    yield from _other_fields(own, MODEL)
    yield from _other_fields(own["modelFormat"] or {}, FORMAT)
    container = {"name": "kserve-container", **model}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": value["metadata"]}
    yield from _object_faults(pod | {"spec": predictor | {"containers": [container]}})


def _other_fields(value: dict[str, Any], expected: dict[str, type]) -> Iterator[str]:
    """Fields that are not those expected, or of other types."""
    for name in sorted(value.keys() | expected.keys()):
        if name not in expected:
            yield f"{name} is no field"
        elif not isinstance(value.get(name), expected[name]):
            yield f"{name} is {value.get(name)!r}, expected {expected[name].__name__}"
