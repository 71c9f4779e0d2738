"""A real server with the small model, shared by the tests of this folder."""

import pathlib

import pytest

from tests.doubles.made_once import made_once
from tests.places import ROOT


@pytest.fixture(scope="session")
def cpp_data(tmp_path_factory) -> pathlib.Path:
    """The artifacts and images that the C++ tests compare with, fewer of them."""
    from deepvit.runtime.cpp.tests.data import make_test_data

    return made_once(tmp_path_factory, "cpp-data", lambda folder: make_test_data.write_data(folder, 120))


@pytest.fixture(scope="session")
def golden_image() -> bytes:
    return (ROOT / "deepvit" / "images" / "photographs" / "astronaut.jpg").read_bytes()


@pytest.fixture(scope="session")
def packaged(golden_image):
    """A function: artifact folder, output folder, … → a repository, written."""
    from deepvit.runtime.triton.repository import write_repository

    def package(artifact, output, **options):
        write_repository(*_asked(artifact, output, golden_image, options))
        return output

    return package


@pytest.fixture(scope="session")
def deployed(golden_image):
    """A function: artifact folder, output folder, … → a repository there, and manifests for it, written."""
    from deepvit.runtime.triton.kubernetes.options import KubernetesOptions
    from deepvit.runtime.triton.kubernetes.write import plan_manifests, write_manifests
    from deepvit.runtime.triton.repository import plan_repository, write_planned

    def deploy(artifact, output, image=None, **options):
        plan = plan_repository(*_asked(artifact, output / "repository", golden_image, options))
        cluster = plan_manifests(plan, KubernetesOptions(kubernetes=output / "manifests", image=image))
        write_planned(plan)
        write_manifests(cluster)
        return output / "repository", output / "manifests"

    return deploy


def _asked(artifact, output, golden_image, options):
    from deepvit.images.class_names import names_or_default
    from deepvit.runtime.artifact import open_artifact
    from deepvit.runtime.triton.options import RepositoryOptions

    opened = open_artifact(artifact)
    labels = names_or_default(None, opened.manifest.classes)
    given = {"name": "small", "labels": labels, "golden_image": golden_image, **options}
    return opened, RepositoryOptions(output=output, **given)


@pytest.fixture(scope="session")
def tritonserver(tmp_path_factory) -> pathlib.Path:
    """The server's folder."""
    from tests.doubles import triton_server

    if not triton_server.WHEEL.is_dir():
        pytest.skip(f"{triton_server.WHEEL} is missing: `make test` unpacks the server there")
    return triton_server.install_server(tmp_path_factory.mktemp("triton") / "wheel")


@pytest.fixture(scope="session")
def start(tritonserver, tmp_path_factory):
    """A function: repository, or the server's command line, and environment → a started server, a context manager."""
    from tests.doubles.triton_server import Server, line_for

    def started(given, **environment):
        line = line_for(given) if isinstance(given, pathlib.Path) else given
        return Server(tritonserver, line, tmp_path_factory.mktemp("log") / "server.log", **environment)

    return started
