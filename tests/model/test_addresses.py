"""Checkpoints at an address, from a server on this machine: a URL, and a Hub that answers as the real one does."""

import hashlib
import http.server
import threading

import huggingface_hub.constants as hub
import pytest
import torch
from safetensors.torch import save

import deepvit.model.load as loading
from deepvit.measure.options import WeightOptions
from deepvit.model.load import load_model
from deepvit.model.weights.random import randomize
from deepvit.runtime.errors import InputError, MissingError
from tests.doubles.tiny_models import TINY

ROW = TINY[loading.find_variant("digits_patch").architecture.stem]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def content():
    return save(dict(randomize(loading.create_deepvit(ROW)).state_dict()))


@pytest.fixture
def served(monkeypatch, tmp_path):
    """Paths → what a server on this machine has there; its address; what it was asked for."""
    files, asked = {}, []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(f"{self.command} {self.path}")
            content = files.get(self.path)
            self.send_response(404 if content is None else 200)
            if content is None:
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("X-Error-Message", "Entry not found")
                content = b""
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET  # noqa: N815 - http.server's own name

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(hub, "ENDPOINT", address)
    monkeypatch.setattr(hub, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("DEEPVIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(loading, "find_variant", lambda name: ROW)
    yield address, files, asked
    server.shutdown()
    server.server_close()


def test_a_url_is_fetched_once_recorded_and_told_apart_by_more_than_its_name(served, content):
    address, files, asked = served
    other = save(dict(randomize(loading.create_deepvit(ROW), 1).state_dict()))
    files |= {"/a/w.safetensors": content, "/b/w.safetensors": other}
    for path, expected in (("/a/w.safetensors", content), ("/a/w.safetensors", content), ("/b/w.safetensors", other)):
        loaded = load_model("tiny", checkpoint=address + path)
        assert loaded.weights.sha256 == hashlib.sha256(expected).hexdigest()
        assert loaded.weights.source == "checkpoint"
    assert asked == ["GET /a/w.safetensors", "GET /b/w.safetensors"]


def test_a_cached_file_that_changed_is_refused(served, content, tmp_path):
    address, files, _ = served
    files["/w.safetensors"] = content
    load_model("tiny", checkpoint=f"{address}/w.safetensors")
    (cached,) = (tmp_path / "cache").rglob("w.safetensors")
    cached.write_bytes(content + b" ")
    with pytest.raises(InputError, match="expected [0-9a-f]{64} as first fetched"):
        load_model("tiny", checkpoint=f"{address}/w.safetensors")


def test_the_hub_is_asked_for_safetensors_first_and_for_a_revision(served, content, tmp_path):
    _, files, asked = served
    torch.save(dict(randomize(loading.create_deepvit(ROW), 1).state_dict()), tmp_path / "w.bin")
    pickled = (tmp_path / "w.bin").read_bytes()
    files |= {
        "/org/both/resolve/main/model.safetensors": content,
        "/org/both/resolve/main/pytorch_model.bin": pickled,
        "/org/old/resolve/v2/pytorch_model.bin": pickled,
        "/org/own/resolve/main/runs/best.safetensors": content,
    }
    for name, expected in (("both", content), ("old@v2", pickled), ("own/runs/best.safetensors", content)):
        loaded = load_model("tiny", checkpoint=f"hf-hub:org/{name}")
        assert loaded.weights.sha256 == hashlib.sha256(expected).hexdigest()
    assert not any("both" in line and "pytorch_model" in line for line in asked)


@pytest.mark.parametrize(
    ("checkpoint", "error", "told"),
    [
        ("hf-hub:name", InputError, "expected hf-hub:org/name"),
        ("hf-hub:org/none", InputError, "org/none has no model.safetensors and no pytorch_model.bin"),
        ("{address}/none.pth", MissingError, "could not fetch .*none.pth: HTTP Error 404"),
        ("{address}/", InputError, "expected the address of a file"),
        ("http://user:secret@127.0.0.1:1/w.pth?key=secret", MissingError, "could not fetch http://127.0.0.1:1/w.pth: "),
    ],
)
def test_what_cannot_be_fetched_is_refused_in_a_line_without_passwords(served, checkpoint, error, told):
    with pytest.raises(error, match=told) as caught:
        load_model("tiny", checkpoint=checkpoint.format(address=served[0]))
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_of_another_sha256_nothing_is_loaded(tmp_path, monkeypatch, content, suffix):
    monkeypatch.setattr(loading, "find_variant", lambda name: ROW)
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    if suffix == ".pth":
        torch.save(dict(randomize(loading.create_deepvit(ROW)).state_dict()), path)
    own = hashlib.sha256(path.read_bytes()).hexdigest()
    assert load_model("tiny", checkpoint=path, sha256=own.upper()).weights.sha256 == own
    path.write_bytes(b"not even a checkpoint")
    with pytest.raises(InputError, match=r"‹sha256› says .*; nothing of it was loaded"):
        load_model("tiny", checkpoint=path, sha256=own)


def test_a_sha256_is_checked_before_anything_else():
    with pytest.raises(InputError, match="is of a ‹checkpoint›"):
        WeightOptions(sha256="0" * 64)
    with pytest.raises(InputError, match="expected 64 hexadecimal digits"):
        WeightOptions(checkpoint="w.pth", sha256="0" * 63)
