"""The plugin's library is held against its record, and nothing is loaded that is not what that says."""

import pathlib
import types

import pytest

from deepvit.runtime.artifact.manifest import Backend, EnginePlugin
from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.kernels.plugin_record import VARIABLE, Use, why_no_plugin
from deepvit.runtime.trt import plugin
from deepvit.runtime.trt.library import Library
from tests.runtime.kernels.named_plugin import CONTENT, RECORD, write_plugin

BUILT_WITH = EnginePlugin(sha256=RECORD["sha256"], kernels_sha256="0" * 64, layer=RECORD["layer"])


class Registry:
    """Keeps what is loaded."""

    def __init__(self):
        self.loaded = []
        self.handle = object()
        self.layers = {("ReAttention", "1", "deepvit")}

    def get_creator(self, name, version, namespace):
        return object() if (name, version, namespace) in self.layers else None

    def load_library(self, path):
        self.loaded.append(pathlib.Path(path).read_bytes())
        return self.handle


@pytest.fixture(autouse=True)
def _nothing_is_loaded(monkeypatch):
    monkeypatch.setattr(plugin, "_loaded", {})


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def library(registry):
    trt = types.SimpleNamespace(get_plugin_registry=lambda: registry)
    return Library(backend=Backend.TENSORRT, trt=trt, version="11.4.0.106")


@pytest.fixture
def path(tmp_path):
    return write_plugin(tmp_path)


def test_what_was_hashed_is_loaded_once(library, registry, path):
    for _ in range(2):
        record = plugin.load_plugin(library, path, compute_capability="8.9", built_with=BUILT_WITH)
        assert record.kernels_sha256 == "0" * 64
    assert registry.loaded == [CONTENT]


@pytest.mark.parametrize("capability", ["8.0", "8.6", "8.7", "8.9", "9.0", None])
def test_gpus_that_it_has_kernels_for(library, registry, path, capability):
    plugin.load_plugin(library, path, compute_capability=capability)
    assert registry.loaded == [CONTENT]


@pytest.mark.parametrize(
    ("changes", "kind", "told"),
    [
        ({"sha256": "1" * 64}, InputError, r"libplugin.so has SHA-256 \w+, .*libplugin.json says 1{64}; build it again"),
        ({"layer": "deepvit::ReAttention/2"}, InputError, "the layer deepvit::ReAttention/2, expected deepvit::ReAttention/1"),
        ({"backend": "tensorrt-rtx"}, MissingError, "is for tensorrt-rtx 11, here is tensorrt 11; build it with the headers"),
        ({"backend_major": 10}, MissingError, "is for tensorrt 10, here is tensorrt 11"),
        ({"compute_capabilities": ["8.9", "10.0"]}, MissingError, "compute capability 8.9, 10.0, not 8.6; build"),
        ({"kernels_sha256": "1" * 64}, MissingError, r"kernels of SHA-256 1{64}, the engine was built with 0{64}; let DEEPVIT_PLUGIN name"),
        ({"schema": 2}, InputError, "libplugin.json is no record of a plugin; build it again: make plugin"),
        ({"more": 1}, InputError, "is no record of a plugin"),
    ],
    ids=["hash", "layer", "backend", "version", "capability", "kernels", "schema", "unknown"],
)  # fmt: skip
def test_what_is_not_as_it_should_be_is_refused_and_not_loaded(library, registry, path, changes, kind, told):
    write_plugin(path.parent, **changes)
    with pytest.raises(kind, match=told) as refusal:
        plugin.load_plugin(library, path, compute_capability="8.6", built_with=BUILT_WITH)
    assert "\n" not in str(refusal.value)
    assert registry.loaded == []


def test_a_changed_library_is_not_loaded(library, registry, path):
    path.write_bytes(CONTENT + b"\0")
    with pytest.raises(InputError, match="has SHA-256"):
        plugin.load_plugin(library, path)
    assert registry.loaded == []


def test_another_layer_than_the_engine_was_built_with_is_not_loaded(library, registry, path):
    with pytest.raises(InputError, match="has the layer deepvit::ReAttention/1, expected deepvit::ReAttention/2"):
        plugin.load_plugin(library, path, built_with=BUILT_WITH.model_copy(update={"layer": "deepvit::ReAttention/2"}))
    assert registry.loaded == []


def test_another_build_of_the_same_kernels_is_loaded(library, registry, path, caplog):
    caplog.set_level("INFO")
    plugin.load_plugin(library, path, built_with=BUILT_WITH)
    assert caplog.text == ""
    plugin.load_plugin(library, path, built_with=BUILT_WITH.model_copy(update={"sha256": "2" * 64}))
    assert "is another build of them" in caplog.text
    assert registry.loaded == [CONTENT]


@pytest.mark.parametrize("gone", [".so", ".json"])
def test_what_is_missing_is_told(library, registry, path, gone):
    path.with_suffix(gone).unlink()
    with pytest.raises(InputError, match=f"libplugin{gone} cannot be read: No such file"):
        plugin.load_plugin(library, path)
    assert registry.loaded == []


def test_what_tensorrt_does_not_take_is_told_and_tried_again(library, registry, path):
    registry.handle = None
    for _ in range(2):
        with pytest.raises(MissingError, match="tensorrt 11.4.0.106 cannot load"):
            plugin.load_plugin(library, path)
    assert registry.loaded == [CONTENT] * 2


def test_the_environment_names_the_library(library, registry, path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    plugin.load_named_plugin(library, "8.6")
    assert registry.loaded == []
    monkeypatch.setenv(VARIABLE, str(path))
    write_plugin(path.parent, backend="tensorrt-rtx")  # of the other one, which builds too
    plugin.load_named_plugin(library, "8.6")
    assert registry.loaded == []
    write_plugin(path.parent)
    with pytest.raises(MissingError, match="not 7.5"):
        plugin.load_named_plugin(library, "7.5")
    assert registry.loaded == []
    plugin.load_named_plugin(library, "8.6")
    assert registry.loaded == [CONTENT]


def test_an_engine_of_the_fused_layer_asks_for_it(library, registry, path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    plugin.require_plugin(library, "engine.plan")  # somebody registered the layer
    registry.layers.clear()
    with pytest.raises(MissingError, match="engine.plan needs the plugin .* let DEEPVIT_PLUGIN name its library: make"):
        plugin.require_plugin(library, "engine.plan")
    monkeypatch.setenv(VARIABLE, str(path))
    with pytest.raises(
        MissingError, match="engine.plan needs the plugin"
    ):  # the library has another layer than it says
        plugin.require_plugin(library, "engine.plan")
    assert registry.loaded == [CONTENT]
    write_plugin(path.parent, backend="tensorrt-rtx")
    with pytest.raises(MissingError, match="is for tensorrt-rtx 11, here is tensorrt 11"):
        plugin.require_plugin(library, "engine.plan")


def test_why_no_plugin_is_at_hand(path, monkeypatch):
    use = Use(backend=Backend.TENSORRT, version="11.4.0.106", compute_capabilities=("8.6", "9.0"))
    monkeypatch.setenv(VARIABLE, "")
    assert "let DEEPVIT_PLUGIN name its library" in why_no_plugin(use)
    monkeypatch.setenv(VARIABLE, str(path))
    assert why_no_plugin(use) is None
    write_plugin(path.parent, compute_capabilities=["8.0"])
    assert "not 9.0" in why_no_plugin(use)
    monkeypatch.setenv(VARIABLE, "/no/such/plugin.so")
    assert "/no/such/plugin.json cannot be read" in why_no_plugin(use)
