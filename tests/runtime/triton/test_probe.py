"""The probe against servers that answer well, wrongly, slowly and never."""

import contextlib
import http.server
import json
import shutil
import socket
import subprocess
import sys
import threading

import pytest

from deepvit.runtime.triton import configs, layout, probe
from tests.places import ROOT

IMAGE = b"\xff\xd8 a golden image"
GOOD = {"small_preprocess": {"status": [0]}, "small": {"classes": [7, 2], "status": [0]}}


@pytest.fixture
def repository(tmp_path):
    """What the probe reads of one."""
    version = tmp_path / "small_preprocess" / "1"
    version.mkdir(parents=True)
    (version / layout.GOLDEN_IMAGE).write_bytes(IMAGE)
    (tmp_path / layout.RECORD).write_text(json.dumps({"schema": 1, "ensemble": "small", "served": "python"}))
    shutil.copyfile(ROOT / "runtime" / "triton" / layout.PROBE, tmp_path / layout.PROBE)
    return tmp_path


@contextlib.contextmanager
def serving(answer):
    """A server whose models answer `answer(model, number)`: outputs, bytes, or an HTTP code; number counts requests."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            header = json.loads(body[: int(self.headers["Inference-Header-Content-Length"])])
            assert body.endswith(IMAGE)
            assert header["inputs"][0]["shape"] == [1, len(IMAGE)]
            model = self.path.split("/")[3]
            asked.append(model)
            given = answer(model, len(asked))
            code, content = (given, b"stub is dead") if isinstance(given, int) else (200, given)
            if isinstance(content, dict):
                content = json.dumps({"outputs": [{"name": n, "data": d} for n, d in content.items()]}).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def probed(repository, url, *options):
    command = [sys.executable, str(repository / layout.PROBE), url, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


def test_a_server_that_answers_is_ready(repository):
    with serving(lambda model, _: GOOD[model]) as (url, asked):
        assert probed(repository, url) == (0, "")
    assert asked == ["small_preprocess"] * probe.PREPROCESSING_REQUESTS + ["small"]
    assert probe.PREPROCESSING_REQUESTS >= 4 * configs.PREPROCESSING_INSTANCES


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        ("small_preprocess", 500),
        ("small_preprocess", {"status": [4]}),
        ("small_preprocess", {}),
        ("small", 500),
        ("small", {"classes": [-1, -1], "status": [4]}),
        ("small", {"classes": [], "status": [0]}),
        ("small", {"status": [0]}),
        ("small", b"no JSON"),
        ("small", b"[]"),
        ("small", b'{"outputs": 5}'),
    ],
)
def test_a_wrong_answer_is_not(repository, model, answer):
    with serving(lambda asked, _: answer if asked == model else GOOD[asked]) as (url, _):
        code, said = probed(repository, url)
    assert code == 1
    assert said.startswith("not ready: ")
    assert model in said
    assert said.count("\n") == 1


def test_one_dead_process_of_two_is_seen(repository):
    with serving(lambda model, number: 500 if (model, number) == ("small_preprocess", 2) else GOOD[model]) as (url, _):
        code, said = probed(repository, url)
    assert (code, "stub is dead" in said) == (1, True)


def test_a_server_that_never_answers_is_not_ready_in_time(repository):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert probed(repository, url, "0.3") == (1, "not ready: no answer in time\n")
    code, said = probed(repository, url)
    assert (code, "refused" in said) == (1, True)


def test_a_repository_that_is_not_there_is_a_line(repository):
    (repository / layout.RECORD).unlink()
    code, said = probed(repository, "http://127.0.0.1:9")
    assert (code, said.count("\n")) == (1, 1)
