"""Peers compute the same function as the model that they are measured against."""

import numpy as np
import pytest

from deepvit.export.graph.proof import torch_logits
from deepvit.measure.bench.peers import Peer, PeerOpener, peers_from, peers_here
from deepvit.measure.options import WeightOptions
from deepvit.runtime.errors import MissingError

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
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(MissingError, match="pip install openvino"):
        PeerOpener(peer=Peer.OPENVINO, **PRETRAINED)()
