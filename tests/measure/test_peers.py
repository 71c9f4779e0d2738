"""Peers compute the same function as the model that they are measured against."""

import sys

import numpy as np
import pytest

from deepvit.export.graph.proof.logits import torch_logits
from deepvit.measure.bench import peers
from deepvit.measure.bench.peers import Peer, PeerOpener, peers_from, peers_here
from deepvit.measure.bench.plain import plain_export
from deepvit.measure.options import WeightOptions
from deepvit.metrics.distance import sqnr_of
from deepvit.runtime.errors import MissingError
from deepvit.runtime.openvino.library import has_bfloat16

PRETRAINED = {"variant": "digits_cnn", "weights": WeightOptions(pretrained=True)}


@pytest.fixture(scope="module")
def plain():
    return plain_export(WeightOptions(pretrained=True).load("digits_cnn"))


@pytest.fixture(autouse=True)
def _exported_once(plain, monkeypatch):
    monkeypatch.setattr(peers, "plain_export", lambda _loaded: plain)


@pytest.mark.parametrize("peer", [Peer.PYTORCH, Peer.COMPILE, Peer.PLAIN_ONNX], ids=lambda peer: peer.value)
def test_peers_give_the_models_logits(peer):
    images = np.random.default_rng(0).standard_normal((3, 3, 40, 40), np.float32)
    session = PeerOpener(peer=peer, **PRETRAINED, threads=2)()
    expected = torch_logits(WeightOptions(pretrained=True).load("digits_cnn").module, images)
    assert np.abs(session.run(images) - expected).max() <= 1e-4


@pytest.mark.gpu
def test_fused_attention_gives_the_models_logits():
    images = np.random.default_rng(0).standard_normal((3, 3, 40, 40), np.float32)
    expected = torch_logits(WeightOptions(pretrained=True).load("digits_cnn").module, images)
    assert sqnr_of(PeerOpener(peer=Peer.FUSED_FP16, **PRETRAINED)().run(images), expected) > 40


def test_fused_attention_needs_a_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(MissingError, match="‹peers› fused-fp16 needs a CUDA GPU, and PyTorch .* sees none"):
        PeerOpener(peer=Peer.FUSED_FP16, **PRETRAINED)()


def test_the_plain_export_is_timed_in_onnx_runtime_beside_a_model_in_openvino():
    session = PeerOpener(peer=Peer.PLAIN_ONNX, **PRETRAINED, provider="openvino")()
    assert session.description.startswith("ONNX Runtime")


@pytest.mark.parametrize("peer", [Peer.PLAIN_INT8, Peer.OPENVINO_INT8], ids=lambda peer: peer.value)
def test_int8_by_onnx_runtimes_own_tool(peer):
    images = np.random.default_rng(0).standard_normal((3, 3, 40, 40), np.float32)
    session = PeerOpener(peer=peer, **PRETRAINED, threads=2)()
    expected = torch_logits(WeightOptions(pretrained=True).load("digits_cnn").module, images)
    assert 15 < sqnr_of(session.run(images), expected) < 60  # its ranges are those of noise, as these images are


def test_which_peers_there_are():
    assert Peer.PLAIN_ONNX in peers_here()
    assert Peer.FUSED_FP16 not in peers_here()
    assert peers_from("plain-onnx,pytorch,plain-onnx") == (Peer.PLAIN_ONNX, Peer.PYTORCH)
    assert peers_from("none") == ()


def test_a_peer_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingError, match="pip install openvino"):
        PeerOpener(peer=Peer.OPENVINO, **PRETRAINED)()


def test_openvino_is_timed_in_a_stated_arithmetic():
    """Its default, BF16 where the processor has it, would stand unsaid beside our FP32."""
    images = np.random.default_rng(0).standard_normal((3, 3, 40, 40), np.float32)
    expected = torch_logits(WeightOptions(pretrained=True).load("digits_cnn").module, images)
    sessions = [PeerOpener(peer=peer, **PRETRAINED, threads=2)() for peer in (Peer.OPENVINO, Peer.OPENVINO_BF16)]
    assert np.abs(sessions[0].run(images) - expected).max() <= 1e-4
    arithmetic = ["FP32", "BF16" if has_bfloat16() else "FP32"]
    assert [session.description.rpartition(" in ")[2] for session in sessions] == arithmetic
    assert (sqnr_of(sessions[1].run(images), expected) < 70) == has_bfloat16()
