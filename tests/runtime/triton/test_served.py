"""What a real Triton server makes of the repository: Python's own answers, batches, refusals."""

import collections
import concurrent.futures
import io
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from PIL import Image
from tritonclient.utils import InferenceServerException

from deepvit.runtime import crop_image, model_input, open_artifact
from deepvit.runtime.triton.kubernetes.manifests import QUEUE_QUERY
from deepvit.runtime.triton.options import TritonBackend
from tests.doubles.changed_artifact import forget_identity, rehash_artifact, replace_weights
from tests.doubles.triton_server import Server
from tests.places import ROOT
from tests.runtime.triton.manifests import objects_of

CLIENTS = {"http": tritonclient.http, "grpc": tritonclient.grpc}
LOAD_REQUESTS = 2000  # 20,000 in benchmarks/triton_load.py
# Of the whole family of processes, from the 1,000th request on. It swings by some 10% with what is in flight; keeping the
# images of 1,000 requests would add 30%.
MEMORY_GROWTH = 0.15
LOGIT_TOLERANCE = 1e-5  # the same graph in the same ONNX Runtime, in batches of other sizes


def request(kind, encoded: list[bytes]):
    """Return the ensemble's input: rows of bytes, zeros behind the shorter ones."""
    rows = np.zeros((len(encoded), max(map(len, encoded))), np.uint8)
    for row, image in zip(rows, encoded, strict=True):
        row[: len(image)] = np.frombuffer(image, np.uint8)
    tensor = kind.InferInput("image", list(rows.shape), "UINT8")
    tensor.set_data_from_numpy(rows)
    return [tensor]


@pytest.fixture(scope="module")
def served(start, packaged, cpp_data, tmp_path_factory):
    repository = packaged(
        cpp_data / "artifacts" / "small",
        tmp_path_factory.mktemp("served") / "repository",
        backends=(TritonBackend.PYTHON,),
    )
    with start(repository) as server:
        assert set(server.states().values()) == {"READY"}, server.text()
        yield server


@pytest.fixture(scope="module")
def rows(cpp_data):
    """Images with what Python makes of them."""
    expected = json.loads((cpp_data / "expected.json").read_text())["small"]
    return [(cpp_data / "images" / row["image"]).read_bytes() for row in expected], [row["logits"] for row in expected]


def client_of(server: Server, kind: str):
    return server.http() if kind == "http" else server.grpc()


@pytest.mark.parametrize("kind", CLIENTS)
def test_the_ensemble_gives_what_python_gives(served, rows, kind):
    client = client_of(served, kind)
    for image, logits in list(zip(*rows, strict=True))[:100]:
        answer = client.infer("small", request(CLIENTS[kind], [image]))
        np.testing.assert_allclose(answer.as_numpy("logits")[0], logits, atol=LOGIT_TOLERANCE)
        best = np.argsort(-np.asarray(logits), kind="stable")[:5]
        np.testing.assert_array_equal(answer.as_numpy("classes")[0], best)
        shares = np.exp(logits - np.max(logits)) / np.exp(logits - np.max(logits)).sum()
        np.testing.assert_allclose(answer.as_numpy("probabilities")[0], shares[best], atol=1e-5)
        assert answer.as_numpy("status").tolist() == [[0]]


@pytest.mark.parametrize("kind", CLIENTS)
def test_preprocessing_gives_the_same_bytes(served, rows, cpp_data, kind):
    preprocessing = open_artifact(cpp_data / "artifacts" / "small").manifest.preprocess
    client = client_of(served, kind)
    for image in rows[0]:
        answer = client.infer("small_preprocess", request(CLIENTS[kind], [image]))
        expected = model_input(crop_image(image, preprocessing)[None], preprocessing, 3)
        np.testing.assert_array_equal(answer.as_numpy("images"), expected)


def test_the_python_model_and_class_names(served, rows, cpp_data):
    preprocessing = open_artifact(cpp_data / "artifacts" / "small").manifest.preprocess
    images = model_input(np.stack([crop_image(image, preprocessing) for image in rows[0][:3]]), preprocessing, 3)
    tensor = tritonclient.http.InferInput("images", list(images.shape), "FP32")
    tensor.set_data_from_numpy(images)
    answer = served.http().infer("small_python", [tensor])
    np.testing.assert_allclose(answer.as_numpy("logits"), rows[1][:3], atol=LOGIT_TOLERANCE)
    named = tritonclient.http.InferRequestedOutput("logits", class_count=1)
    answer = served.http().infer("small", request(tritonclient.http, rows[0][:1]), outputs=[named])
    score, index, label = answer.as_numpy("logits")[0, 0].decode().split(":")
    assert label == index == str(np.argmax(rows[1][0]))
    assert abs(float(score) - max(rows[1][0])) < 1e-4


def test_the_example_s_client(served, rows, cpp_data):
    (image,) = {row["image"] for row in json.loads((cpp_data / "expected.json").read_text())["small"][:1]}
    client = ROOT / "examples" / "triton" / "classify.py"
    command = [sys.executable, client, f"127.0.0.1:{served.http_port}", "small", cpp_data / "images" / image]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    logits = np.asarray(rows[1][0], np.float64)
    share = 1 / np.exp(logits - logits.max()).sum()
    assert (done.stdout, done.stderr) == (f"{cpp_data / 'images' / image}: {logits.argmax()}, {share:.1%}\n", "")


def test_images_of_one_request_that_cannot_be_decoded_fail_alone(served, rows):
    good, broken = rows[0][0], rows[0][1][: len(rows[0][1]) // 2]
    answer = served.http().infer("small", request(tritonclient.http, [good, broken, b"no image", rows[0][2]]))
    assert answer.as_numpy("status")[:, 0].tolist() == [0, 4, 4, 0]
    assert (answer.as_numpy("classes")[1:3] == -1).all()
    assert (answer.as_numpy("probabilities")[1:3] == 0).all()
    for row, logits in ((0, rows[1][0]), (3, rows[1][2])):
        np.testing.assert_allclose(answer.as_numpy("logits")[row], logits, atol=LOGIT_TOLERANCE)
    with pytest.raises(InferenceServerException, match="neither|cannot be decoded|not an image"):
        served.http().infer("small", request(tritonclient.http, [broken]))


def test_large_images_are_refused_and_their_neighbours_are_answered(served, rows):
    large = []
    for side in (9500, 13_000):
        stream = io.BytesIO()
        Image.new("1", (side, side)).save(stream, "PNG")
        large.append(stream.getvalue())
    answer = served.http().infer("small", request(tritonclient.http, [large[0], rows[0][0], large[1]]))
    assert answer.as_numpy("status")[:, 0].tolist() == [4, 0, 4]
    np.testing.assert_allclose(answer.as_numpy("logits")[1], rows[1][0], atol=LOGIT_TOLERANCE)
    with pytest.raises(InferenceServerException, match="at most 50 million"):
        served.http().infer("small", request(tritonclient.http, [large[0]]))


def test_the_deployment_starts_it_and_its_probe_sees_a_dead_process(start, tritonserver, deployed, cpp_data, tmp_path):
    """Command line, environment and probe are those of deployment.yaml; its mounts and ports are elsewhere here."""
    options = {"backends": (TritonBackend.PYTHON,)}
    repository, manifests = deployed(cpp_data / "artifacts" / "small", tmp_path, **options)
    (container,) = objects_of(manifests)["deployment.yaml"]["spec"]["template"]["spec"]["containers"]
    places = {"/tmp": str(tmp_path), "/models": str(repository), "/packages": sys.prefix}
    line = [places_in(each, places) for each in (*container["command"], *container["args"])]
    environment = {each["name"]: places_in(each["value"], places) for each in container["env"]}
    environment["PATH"] = f"{tritonserver / 'bin'}:/usr/bin:/bin"  # the image's, without what the models import
    for model in ("small_preprocess", "small_python", "small_classify"):
        with start(line, environment=environment) as server:
            assert set(server.states().values()) == {"READY"}, server.text()
            probes = [container[f"{kind}Probe"]["exec"]["command"] for kind in ("startup", "readiness", "liveness")]
            for probe in probes if model == "small_classify" else probes[-1:]:
                assert probed(probe, repository, server) == (0, "")
            os.kill(next(pid for pid, command in server.processes() if f"/{model}/" in command), signal.SIGKILL)
            code, said = probed(probes[-1], repository, server)
            assert (code, said[:11]) == (1, "not ready: ")
            assert server.http().is_server_ready()  # all that Triton says of it


def places_in(text, places):
    """Return `text` with the places of a pod replaced by those here."""
    for there, here in places.items():
        text = text.replace(there, here)
    return text


def probed(command, repository, server):
    """Run a probe as the kubelet would in the pod; return its exit status and what it says."""
    here = {"/models": str(repository), "http://127.0.0.1:8000": f"http://127.0.0.1:{server.http_port}"}
    assert all(any(there in each for each in command) for there in here)
    command = [places_in(each, here) for each in command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


def test_the_autoscaler_s_metric_is_made_of_counters_that_the_server_has(served, rows):
    """Queued microseconds of all models, and as many requests as the ensemble got: the most of any model."""
    client = served.grpc()
    before = counters(served)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda image: client.infer("small", request(tritonclient.grpc, [image])), rows[0][:40]))
    after = counters(served)
    grown = {key: after[key] - before.get(key, 0) for key in after}
    (queue, requests) = re.findall(r"rate\((\w+)\{", QUEUE_QUERY)
    by_model = {model: count for (name, model), count in grown.items() if name == requests}
    # Some are counted after they are answered, and the first request has one more made, of the golden image.
    assert 30 < by_model["small"] <= max(by_model.values()) <= 41
    assert sum(count for (name, _), count in grown.items() if name == queue) > 0


def counters(server: Server) -> dict[tuple[str, str], float]:
    """Triton's metrics by their name and model."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics") as answer:
        found = re.findall(r'^(\w+)\{model="(\w+)",version="1"\} (\S+)$', answer.read().decode(), re.MULTILINE)
    return {(name, model): float(value) for name, model, value in found}


def test_under_load_batches_form_corrupt_requests_fail_alone_and_memory_stays(served, rows):
    """Every answer is held against Python's; one request in ten is corrupt."""
    images, logits = rows
    before = batches_of(served)
    memory = {}

    def ask(number: int) -> str:
        which = number % len(images)
        if number in (1000, LOAD_REQUESTS - 1):
            memory[number] = served.resident_bytes()
        client = clients[number % len(clients)]
        if number % 10 == 9:
            with pytest.raises(InferenceServerException):
                client.infer("small", request(tritonclient.grpc, [images[which][:200]]))
            return "refused"
        answer = client.infer("small", request(tritonclient.grpc, [images[which]]))
        np.testing.assert_allclose(answer.as_numpy("logits")[0], logits[which], atol=LOGIT_TOLERANCE)
        return "answered"

    clients = [served.grpc() for _ in range(8)]
    with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
        counts = collections.Counter(pool.map(ask, range(LOAD_REQUESTS)))
    assert counts == {"answered": LOAD_REQUESTS * 9 // 10, "refused": LOAD_REQUESTS // 10}
    formed = {size: count - before.get(size, 0) for size, count in batches_of(served).items()}
    assert sum(count for size, count in formed.items() if size > 1) > 0, formed
    assert memory[LOAD_REQUESTS - 1] <= memory[1000] * (1 + MEMORY_GROWTH), memory


def batches_of(server: Server) -> dict[int, int]:
    """How many batches of which size the Python model ran."""
    (stats,) = server.http().get_inference_statistics("small_python")["model_stats"]
    return {int(batch["batch_size"]): int(batch["compute_infer"]["count"]) for batch in stats["batch_stats"]}


def test_logits_that_are_not_finite_are_an_error_of_their_request_alone(start, packaged, cpp_data, tmp_path, rows):
    repository = packaged(cpp_data / "artifacts" / "dark", tmp_path / "repository", backends=(TritonBackend.PYTHON,))
    dark = (cpp_data / "dark.png").read_bytes()
    with start(repository) as server:
        asked = [dark, rows[0][0]] * 8
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            got = list(pool.map(lambda image: _try(server, image), asked))
        assert all("not finite" in answer for answer in got[::2])
        for answer in got[1::2]:
            np.testing.assert_allclose(answer, rows[1][0], atol=LOGIT_TOLERANCE)


def _try(server, image):
    try:
        return server.grpc().infer("small", request(tritonclient.grpc, [image])).as_numpy("logits")[0]
    except InferenceServerException as error:
        return str(error)


def test_swapped_weights_are_not_served(start, packaged, cpp_data, tmp_path):
    """Once with the old hash, once with all hashes made to fit: the golden image tells."""
    for name, has_fitting_hash in (("plain", False), ("rehashed", True)):
        repository = packaged(cpp_data / "artifacts" / "small", tmp_path / name, backends=(TritonBackend.PYTHON,))
        artifact = repository / "small_python" / "1" / "artifact"
        replace_weights(artifact / "model.onnx")
        if has_fitting_hash:
            rehash_artifact(artifact)
        with start(repository) as server:
            states = server.states()
            assert states["small_python"] == "UNAVAILABLE"
            assert states.get("small") != "READY"
            assert ("golden image" if has_fitting_hash else "SHA-256") in server.text()
            with pytest.raises(InferenceServerException):
                server.http().infer("small", request(tritonclient.http, [b"x"]))


def test_the_ensemble_refuses_a_model_that_came_up_with_other_weights(start, packaged, cpp_data, tmp_path, rows):
    """As for an engine, which no Python opens: here the Python model's own proof is made to fit the swapped weights."""
    from deepvit.runtime.triton.serving.golden import Golden

    repository = packaged(cpp_data / "artifacts" / "small", tmp_path / "repository", backends=(TritonBackend.PYTHON,))
    version = repository / "small_python" / "1"
    replace_weights(version / "artifact" / "model.onnx")
    forget_identity(version / "artifact")
    golden = Golden.load(version / "golden.npz")
    Golden(golden.images, golden.logits, -1000.0).save(version / "golden.npz")
    with start(repository) as server:
        assert server.states()["small_python"] == "READY"
        for _ in range(2):
            with pytest.raises(InferenceServerException, match="it is another model"):
                server.http().infer("small", request(tritonclient.http, [rows[0][0]]))
