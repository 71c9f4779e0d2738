"""A real server with the small model, shared by the tests of this folder."""

import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "triton"), str(ROOT / "runtime" / "cpp" / "tests")]


@pytest.fixture(scope="session")
def cpp_data(tmp_path_factory) -> pathlib.Path:
    """The artifacts and images that the C++ tests compare with, fewer of them."""
    import make_test_data

    folder = tmp_path_factory.mktemp("cpp") / "data"
    make_test_data.write_data(folder, 120)
    return folder


@pytest.fixture(scope="session")
def golden_image() -> bytes:
    return (ROOT / "deepvit" / "images" / "photographs" / "astronaut.jpg").read_bytes()


@pytest.fixture(scope="session")
def packaged(golden_image):
    """A function: artifact folder, output folder, … → a repository, written."""
    from deepvit.images.class_names import default_labels
    from deepvit.runtime.artifact import open_artifact
    from deepvit.runtime.triton.repository import RepositoryOptions, write_repository

    def package(artifact, output, **options):
        opened = open_artifact(artifact)
        labels = default_labels(opened.manifest.classes)
        asked = {"name": "small", "labels": labels, "golden_image": golden_image, **options}
        write_repository(opened, RepositoryOptions(output=output, **asked))
        return output

    return package


@pytest.fixture(scope="session")
def tritonserver(tmp_path_factory) -> pathlib.Path:
    """The server's folder."""
    import server

    if not server.WHEEL.is_dir():
        pytest.skip(f"{server.WHEEL} is missing: `make test` unpacks the server there")
    return server.install_server(tmp_path_factory.mktemp("triton") / "wheel")


@pytest.fixture(scope="session")
def start(tritonserver, tmp_path_factory):
    """A function: repository → a started server, a context manager."""
    from server import Server

    return lambda repository: Server(tritonserver, repository, tmp_path_factory.mktemp("log") / "server.log")
