"""`package`: an artifact as something that serves."""

import pathlib
from typing import TYPE_CHECKING, Annotated

from deepvit.runtime.errors import InputError, OutOfBoundsError
from deepvit.runtime.files import read_bounded
from deepvit.runtime.options import Help
from deepvit.runtime.triton.options import RepositoryOptions, ServingOptions

from .terminal.console import out, print_next, write_json
from .terminal.following import after_package
from .terminal.options import OUTPUT, RANDOM_WEIGHTS, DryRun, Json
from .terminal.outputs import check_outputs
from .terminal.progress import steps
from .terminal.spelling import spelled

if TYPE_CHECKING:
    from deepvit.runtime.triton.repository import RepositoryPlan


def package(
    *,
    path: Annotated[pathlib.Path | None, Help("An artifact folder.", name="artifact", is_argument=True)] = None,
    triton: Annotated[pathlib.Path | None, Help("Folder of the Triton model repository.", heading=OUTPUT)] = None,
    check: Annotated[
        bool, Help("Write nothing; say what is wrong with the repository at --triton.", heading=OUTPUT)
    ] = False,
    serving: ServingOptions,
    labels: Annotated[
        pathlib.Path | None,
        Help("File with a class name per line; the artifact's own names if not given.", heading="Serving"),
    ] = None,
    golden_image: Annotated[
        pathlib.Path | None,
        Help("JPEG or PNG whose logits the served models must give; a bundled one if not given.", heading="Serving"),
    ] = None,
    dry_run: DryRun = False,
    json_path: Json = None,
) -> None:
    """Write a Triton model repository: preprocessing, the model per backend, classes; or check one."""
    check_outputs(json=json_path, reads=(labels, golden_image))
    if triton is None:
        raise InputError("package needs --triton DIR")
    if check and dry_run:
        raise InputError("--check writes nothing in any case; leave out --dry-run")
    if check:
        _check(triton, json_path)
        return
    if path is None:
        raise InputError("package needs an artifact, as in: package artifacts/deepvit_32-fp16 --triton DIR")
    with steps() as step:
        step(f"opening {path}")
        from deepvit.images.class_names import names_or_default, read_labels
        from deepvit.measure.results.package import Package
        from deepvit.runtime.session import artifact_of
        from deepvit.runtime.triton.repository import plan_repository, write_repository

        artifact = artifact_of(path)
        manifest = artifact.manifest
        options = RepositoryOptions(
            output=triton,
            labels=names_or_default(manifest.class_names, manifest.classes)
            if labels is None
            else read_labels(labels, manifest.classes),
            golden_image=_golden_image(golden_image),
            **vars(serving),
        )
        if not dry_run:
            step(f"writing {triton}")
            models = write_repository(artifact, options, spelled)
    if dry_run:
        _show(plan_repository(artifact, options), json_path)
        return
    suffix = f" ({RANDOM_WEIGHTS})" if artifact.manifest.has_random_weights else ""
    out.print(f"{triton}: {', '.join(models)}{suffix}")
    out.print(f"{triton / 'README.md'} has the line that serves it")
    write_json(json_path, Package(repository=str(triton), models=list(models), faults=None).to_json)
    print_next(after_package(triton))


def _show(plan: "RepositoryPlan", json_path: pathlib.Path | None) -> None:
    """Say what would be written."""
    from deepvit.measure.results.plan import Plan

    from .terminal.plan import planned_files, show_plan

    artifact, output = plan.artifact, plan.options.output
    for name in artifact.manifest.files:
        artifact.read(name)  # what is not what was exported is refused
    show_plan(
        Plan(
            planned="package",
            stages=[f"opening {artifact.folder}", f"writing {output}"],
            files=planned_files(output, plan.files),
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
