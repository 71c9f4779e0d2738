"""`package`: an artifact as something that serves."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Annotated, ClassVar

from deepvit.runtime.errors import InputError, OutOfBoundsError
from deepvit.runtime.files import read_bounded
from deepvit.runtime.options import Help
from deepvit.runtime.triton.kubernetes.options import KubernetesOptions
from deepvit.runtime.triton.options import RepositoryOptions, ServingOptions

from .terminal.console import NEXT, out, print_next, write_json
from .terminal.following import after_manifests, after_package
from .terminal.options import OUTPUT, RANDOM_WEIGHTS, DryRun, Json
from .terminal.outputs import check_outputs
from .terminal.progress import steps
from .terminal.spelling import spelled

if TYPE_CHECKING:
    from deepvit.runtime.artifact.manifest import Manifest
    from deepvit.runtime.triton.kubernetes.write import ClusterPlan
    from deepvit.runtime.triton.repository import RepositoryPlan


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contents:
    """Files whose contents go into a repository."""

    heading: ClassVar[str] = "Serving"

    labels: Annotated[
        pathlib.Path | None, Help("File with a class name per line; the artifact's own names if not given.")
    ] = None
    golden_image: Annotated[
        pathlib.Path | None,
        Help("JPEG or PNG whose logits the served models must give; a bundled one if not given."),
    ] = None


def package(
    *,
    path: Annotated[pathlib.Path | None, Help("An artifact folder.", name="artifact", is_argument=True)] = None,
    triton: Annotated[pathlib.Path | None, Help("Folder of the Triton model repository.", heading=OUTPUT)] = None,
    check: Annotated[
        bool, Help("Write nothing; say what is wrong with the repository at --triton.", heading=OUTPUT)
    ] = False,
    manifests: KubernetesOptions,
    serving: ServingOptions,
    contents: Contents,
    dry_run: DryRun = False,
    json_path: Json = None,
) -> None:
    """Write a Triton model repository, and manifests that serve it on Kubernetes; or check a repository."""
    check_outputs(json=json_path, reads=(contents.labels, contents.golden_image))
    if triton is None:
        raise InputError("package needs --triton DIR")
    if check and dry_run:
        raise InputError("--check writes nothing in any case; leave out --dry-run")
    if check:
        if manifests.kubernetes is not None:
            raise InputError("--check is about the repository alone; leave out --kubernetes")
        _check(triton, json_path)
        return
    if path is None:
        raise InputError("package needs an artifact, as in: package artifacts/deepvit_32-fp16 --triton DIR")
    with steps() as step:
        step(f"opening {path}")
        from deepvit.runtime.opening import artifact_of
        from deepvit.runtime.triton.kubernetes.write import plan_manifests, write_manifests
        from deepvit.runtime.triton.repository import plan_repository, write_planned

        artifact = artifact_of(path)
        plan = plan_repository(artifact, _options(artifact.manifest, triton, serving, contents))
        cluster = None if manifests.kubernetes is None else plan_manifests(plan, manifests)
        if not dry_run:
            step(f"writing {triton}")
            write_planned(plan, spelled)
            if cluster is not None:
                step(f"writing {cluster.folder}")
                write_manifests(cluster, spelled)
    if dry_run:
        _show(plan, cluster, json_path)
    else:
        _tell(plan, cluster, json_path)


def _options(
    manifest: "Manifest", output: pathlib.Path, serving: ServingOptions, contents: Contents
) -> RepositoryOptions:
    from deepvit.images.class_names import names_or_default, read_labels

    return RepositoryOptions(
        output=output,
        labels=names_or_default(manifest.class_names, manifest.classes)
        if contents.labels is None
        else read_labels(contents.labels, manifest.classes),
        golden_image=_golden_image(contents.golden_image),
        **vars(serving),
    )


def _tell(plan: "RepositoryPlan", cluster: "ClusterPlan | None", json_path: pathlib.Path | None) -> None:
    """Say what was written."""
    from deepvit.measure.results.package import Package

    output = plan.options.output
    suffix = f" ({RANDOM_WEIGHTS})" if plan.artifact.manifest.has_random_weights else ""
    out.print(f"{output}: {', '.join(plan.models)}{suffix}")
    out.print(f"{output / 'README.md'} has the line that serves it")
    written = None if cluster is None else str(cluster.folder)
    result = Package(repository=str(output), models=plan.models, faults=None, kubernetes=written)
    write_json(json_path, result.to_json)
    if cluster is None:
        print_next(after_package(output))
        return
    out.print(f"{cluster.folder}: {cluster.name} in {cluster.image}, and for KServe")
    out.print(f"{cluster.folder / 'README.md'} has the lines that fill its volume")
    out.print(f"{NEXT}{after_manifests(cluster.folder)}")


def _show(plan: "RepositoryPlan", cluster: "ClusterPlan | None", json_path: pathlib.Path | None) -> None:
    """Say what would be written."""
    from deepvit.measure.results.plan import Plan

    from .terminal.plan import planned_files, show_plan

    artifact, output = plan.artifact, plan.options.output
    stages, files = [f"opening {artifact.folder}", f"writing {output}"], planned_files(output, plan.files)
    if cluster is not None:
        stages.append(f"writing {cluster.folder}")
        files += planned_files(cluster.folder, cluster.files)
    for name in artifact.manifest.files:
        artifact.read(name)  # what is not what was exported is refused
    show_plan(
        Plan(
            planned="package",
            stages=stages,
            files=files,
            measures=["the logits of the golden image, which every model has to give when it is loaded"],
            disk_bytes=plan.expected_bytes,
            cost=None,
            notes=[RANDOM_WEIGHTS] if artifact.manifest.has_random_weights else [],
        ),
        json_path,
    )


def _golden_image(path: pathlib.Path | None) -> bytes:
    from deepvit.images.sources import MOST_IMAGE_BYTES

    if path is None:
        from deepvit.images.samples import SAMPLES

        path = SAMPLES / "astronaut.jpg"
    return read_bounded(path, MOST_IMAGE_BYTES, "an image", name=f"‹golden_image› {path}")


def _check(folder: pathlib.Path, json_path: pathlib.Path | None) -> None:
    with steps() as step:
        step(f"checking {folder}")
        from deepvit.measure.results.package import Package
        from deepvit.runtime.triton.check import check_repository

        faults = check_repository(folder)
    write_json(json_path, Package(repository=str(folder), models=None, faults=list(faults)).to_json)
    if faults:
        raise OutOfBoundsError(f"{folder}: {len(faults)} faults: {'; '.join(faults)}; package the artifact again")
    out.print(f"{folder}: every config follows Triton's schema, every file is as it was written")
