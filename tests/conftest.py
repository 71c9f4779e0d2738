"""Fixtures that every test shares: tiny, seeded, nothing outside tmp_path."""

import pathlib

import pytest
import torch

import deepvit.model
from deepvit.model.architecture import Stem
from deepvit.model.row import Variant
from deepvit.model.weights.random import randomize
from tests.doubles.made_once import made_once
from tests.doubles.tiny_models import TINY

# What takes longest begins first, so that no worker is left with it while the others have nothing to do.
LONGEST = (
    "tests/export/engine/test_rig.py",
    "tests/export/test_quantized_graph.py",
    "tests/contracts/benchmarks/test_torture.py",
    "tests/contracts/pages/test_pages.py",
    "tests/runtime/triton/test_served.py",
    "tests/model/test_golden.py",  # long after test_rig.py, whose graphs it then finds
    "tests/model/test_checkpoint.py",
    "tests/export/test_graph.py",
    "tests/commands/test_interrupts.py",
    "tests/measure/test_attention_maps.py",
    "tests/measure/test_report.py",
    "tests/contracts/test_packaging.py",
)


def pytest_collection_modifyitems(items):
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(place)))  # else as they were
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU on this machine"))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Keep what is cached by tests, and by the processes that they start, out of the user's folder, and the plugin out of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DEEPVIT_PLUGIN", raising=False)
        patch.setenv("DEEPVIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(params=list(TINY), ids=lambda stem: stem.value)
def tiny_variant(request) -> Variant:
    return TINY[request.param]


@pytest.fixture
def tiny_model(tiny_variant) -> deepvit.model.DeepViT:
    """Two blocks, the last with re-attention, two heads, 32×32, random weights."""
    return randomize(deepvit.model.create_deepvit(tiny_variant))


@pytest.fixture(scope="session")
def tiny_loaded():
    """The tiny CNN-stem model as the export takes it."""
    from deepvit.model.load import LoadedModel
    from deepvit.runtime.artifact.manifest import Weights

    model = randomize(deepvit.model.create_deepvit(TINY[Stem.CNN]))
    return LoadedModel(variant=TINY[Stem.CNN], module=model, weights=Weights(source="random", sha256="0" * 64, seed=0))


@pytest.fixture(scope="session")
def tiny_artifact(tiny_loaded, tmp_path_factory) -> pathlib.Path:
    """An FP16 artifact of the tiny model; tests must not change it."""
    from deepvit.export.options import ExportOptions, GraphOptions
    from deepvit.export.pipeline import export_artifact

    return made_once(
        tmp_path_factory,
        "tiny-fp16",
        lambda folder: export_artifact(tiny_loaded, ExportOptions(graph=GraphOptions(), output=folder)),
    )


@pytest.fixture(scope="session")
def artifacts_by_precision(tiny_loaded, tmp_path_factory):
    """Precision → an artifact of the tiny model; tests must not change them."""
    from deepvit.export.options import ExportOptions, GraphOptions
    from deepvit.export.pipeline import export_artifact
    from deepvit.runtime.artifact.manifest import Precision

    def export(folder):
        for precision in Precision:
            graph = GraphOptions(precision=precision)
            export_artifact(tiny_loaded, ExportOptions(graph=graph, output=folder / precision.value, parity_images=2))

    folder = made_once(tmp_path_factory, "precisions", export)
    return {precision: folder / precision.value for precision in Precision}


@pytest.fixture(scope="session")
def grey_artifact(tmp_path_factory) -> pathlib.Path:
    """An FP16 artifact of a tiny model that takes one channel, its float32 twin beside it; tests must not change them."""
    from deepvit.export.options import ExportOptions, GraphOptions
    from deepvit.export.pipeline import export_artifact
    from deepvit.model.load import LoadedModel
    from deepvit.runtime.artifact.manifest import Precision, Weights

    model = randomize(deepvit.model.create_deepvit(TINY[Stem.CNN], in_chans=1))
    weights = Weights(source="random", sha256="0" * 64, seed=0)
    loaded = LoadedModel(variant=TINY[Stem.CNN], module=model, weights=weights)

    def export(folder):
        for precision in (Precision.FP16, Precision.FP32):
            graph = GraphOptions(precision=precision)
            export_artifact(loaded, ExportOptions(graph=graph, output=folder / precision.value, parity_images=2))

    return made_once(tmp_path_factory, "grey", export) / "fp16"


@pytest.fixture(scope="session")
def variant_onnx(tmp_path_factory):
    """A function: name of a published variant → its float32 graph for TensorRT, made once, with the golden weights."""
    from tests.model.golden.golden_model import golden_graph

    def get(name: str) -> bytes:
        path = made_once(tmp_path_factory, f"{name}.onnx", lambda path: path.write_bytes(golden_graph(name)))
        return path.read_bytes()

    return get


@pytest.fixture(scope="session")
def rig(tmp_path_factory):
    """TensorRT's real bindings, for the processes that a test starts; see `rig.py`."""
    from tests.rig.rig import build_rig

    return build_rig(tmp_path_factory.mktemp("rig"))


@pytest.fixture
def on_rig(rig, monkeypatch):
    """Let this process find the rig's `tensorrt`, and the processes that it starts load it."""
    for name, value in rig.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(rig.folder))
    return rig


@pytest.fixture(scope="session")
def digits(tmp_path_factory) -> pathlib.Path:
    """Scikit-learn's digits laid out as an ImageNet folder."""
    from examples.digits.make_dataset import write_dataset

    return made_once(tmp_path_factory, "digits", write_dataset)


@pytest.fixture
def photographs() -> list[pathlib.Path]:
    """Photographs that scikit-image ships, of odd sizes, PNG and JPEG, grey and colour."""
    import skimage

    folder = pathlib.Path(skimage.__file__).parent / "data"
    names = ("astronaut.png", "brick.png", "chelsea.png", "coffee.png", "coins.png", "rocket.jpg", "retina.jpg")
    return [folder / name for name in names]
