"""Peers compute the same function as the model that they are measured against."""

import os
import subprocess
import sys

import numpy as np
import pytest

from deepvit.export.graph.proof import torch_logits
from deepvit.measure.bench.openvino_session import OpenVinoSession
from deepvit.measure.bench.peers import Peer, PeerOpener, peers_from, peers_here
from deepvit.measure.options import WeightOptions
from deepvit.metrics.distance import sqnr_of
from deepvit.runtime.artifact import MODEL, open_artifact
from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.manifest import Precision
from deepvit.runtime.session import open_session

AS_WE_LOAD_IT = "import deepvit.measure.bench.openvino_session\n"
MESSENGER = "import pathlib\npathlib.Path({mark!r}).touch()\nraise ImportError\n"
PRETRAINED = {"variant": "digits_cnn", "weights": WeightOptions(pretrained=True)}


@pytest.mark.parametrize("peer", [Peer.PYTORCH, Peer.COMPILE, Peer.PLAIN_ONNX], ids=lambda peer: peer.value)
def test_peers_give_the_models_logits(peer):
    images = np.random.default_rng(0).standard_normal((3, 3, 40, 40), np.float32)
    session = PeerOpener(peer=peer, **PRETRAINED, threads=2)()
    expected = torch_logits(WeightOptions(pretrained=True).load("digits_cnn").module, images)
    assert np.abs(session.run(images) - expected).max() <= 1e-4


def test_which_peers_there_are():
    assert Peer.PLAIN_ONNX in peers_here()
    assert peers_from("plain-onnx,pytorch,plain-onnx") == (Peer.PLAIN_ONNX, Peer.PYTORCH)
    assert peers_from("none") == ()


def test_a_peer_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingError, match="pip install openvino"):
        PeerOpener(peer=Peer.OPENVINO, **PRETRAINED)()


def test_openvino_gives_the_graphs_logits(tiny_artifact):
    content, images = (tiny_artifact / MODEL).read_bytes(), open_artifact(tiny_artifact).manifest.golden_input
    session = OpenVinoSession(content, threads=1, arithmetic=Precision.FP32)
    expected = open_session(tiny_artifact, threads=1).run(images)
    assert sqnr_of(session.run(images), expected) > 40
    assert session.classes == expected.shape[1]
    with pytest.raises(InputError):
        session.run(np.zeros_like(images, np.uint8))


@pytest.mark.parametrize(
    ("before", "is_asked"), [(AS_WE_LOAD_IT, False), ("", True)], ids=["as we load it", "as it is"]
)
def test_openvino_is_loaded_without_its_messenger(tmp_path, before, is_asked):
    """The second is the negative control. The messenger of the test leaves a mark and is not to be had."""
    mark, home = tmp_path / "mark", tmp_path / "home"
    home.mkdir()
    (tmp_path / "openvino_telemetry.py").write_text(MESSENGER.format(mark=str(mark)))
    program = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n{before}import openvino\n"
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | {"HOME": str(home)})
    assert mark.exists() == is_asked
    assert list(home.iterdir()) == []
