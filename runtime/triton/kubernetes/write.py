"""Repository → manifests: a folder that appears whole or not at all."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable

from ...artifact import record_file
from ...errors import InputError, require_installed
from ...files.staging import require_output, staged_folder
from .. import layout
from ..releases import image_for
from ..repository import RepositoryPlan, requirements
from . import kserve
from .cluster import Cluster, cluster_name
from .guide import guide
from .manifests import ADAPTER, KUSTOMIZATION, LOADER, adapter_rule, kustomization, loader, served_objects
from .options import KubernetesOptions
from .text import Object, yaml_text

RECORD = "kubernetes.json"  # written last: of which repository they are
OPTION = "‹kubernetes›"


@dataclasses.dataclass(frozen=True)
class ClusterPlan:
    """Manifests that nothing speaks against; of a repository that need not be there yet."""

    repository: RepositoryPlan
    folder: pathlib.Path
    name: str
    image: str

    @property
    def files(self) -> list[str]:
        """What is written at the top of the folder."""
        return sorted({name.split("/")[0] for name in _objects(self.cluster(""))} | {layout.GUIDE, RECORD})

    def cluster(self, revision: str) -> Cluster:
        """Return what the manifests share, for the repository whose record has the SHA-256 `revision`."""
        plan = self.repository
        return Cluster(
            name=self.name,
            image=self.image,
            engine=plan.engine,
            requirements=tuple(requirements(plan)),
            model_bytes=plan.expected_bytes,
            revision=revision,
        )


def plan_manifests(repository: RepositoryPlan, options: KubernetesOptions) -> ClusterPlan:
    """Plan the manifests for a repository; nothing is written.

    Raises:
        InputError: The folder cannot be written, or is in the repository's or around it; no container is known that
            loads the plan; the name is too long.
        MissingError: PyYAML is not installed.
    """
    folder = options.kubernetes
    assert folder is not None
    places = [pathlib.Path(os.path.realpath(each)) for each in (repository.options.output, folder)]
    if places[0] == places[1] or places[0] in places[1].parents or places[1] in places[0].parents:
        raise InputError(f"{OPTION} {folder} and ‹triton› {repository.options.output}: expected two folders apart")
    require_installed("a manifest for Kubernetes", "yaml")
    require_output(folder, marker=RECORD, option=OPTION)
    name = cluster_name(repository.names.ensemble)
    return ClusterPlan(repository, folder, name, options.image or image_for(repository.engine))


def write_manifests(plan: ClusterPlan, spelled: Callable[[str], str] = str) -> None:
    """Write the manifests of a repository that has been written.

    Raises:
        InputError: The folder cannot be written.
        MissingError: The disk is full.
    """
    repository = plan.repository.options.output
    revision = record_file(repository / layout.RECORD).sha256
    cluster = plan.cluster(revision)
    with staged_folder(plan.folder, marker=RECORD, option=OPTION) as folder:
        (folder / kserve.FOLDER).mkdir()
        for name, value in _objects(cluster).items():
            (folder / name).write_text(yaml_text(value), encoding="utf-8")
        text = guide(cluster, os.path.relpath(repository, plan.folder))
        (folder / layout.GUIDE).write_text(spelled(text), encoding="utf-8")
        record = {"schema": 1, "name": cluster.name, "image": cluster.image, "repository_sha256": revision}
        (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _objects(cluster: Cluster) -> dict[str, Object]:
    """Return every file but the guide and the record."""
    served = served_objects(cluster)
    return {
        **served,
        KUSTOMIZATION: kustomization(list(served)),
        LOADER: loader(cluster),
        ADAPTER: adapter_rule(),
        kserve.FILE: kserve.inference_service(cluster),
        f"{kserve.FOLDER}/{KUSTOMIZATION}": kustomization([kserve.FILE.split("/")[1]]),
    }
