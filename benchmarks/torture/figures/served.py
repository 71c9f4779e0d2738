"""Figures 19, 20 and 22: a million requests to a real Triton server, clients that vanish, every shape of load."""

import concurrent.futures
import contextlib
import dataclasses
import http.client
import json
import pathlib
import random
import socket
import struct
from collections.abc import Iterator

import numpy as np
import tritonclient.http

from deepvit.runtime import open_artifact
from deepvit.runtime.triton.options import RepositoryOptions, TritonBackend
from deepvit.runtime.triton.repository import write_repository
from tests.doubles.triton_server import WHEEL, Server, install_server, line_for

from ..figure import Case, Figure
from ..trial import Result
from .images import encoded
from .material import tiny_artifacts

NAME, OUTPUTS = "tiny", ("classes", "status")
CLIENTS, VANISHING = 64, 5  # every fifth client drops its connection in the middle of each tenth request
TRIALS, REQUESTS = 50, 20_000  # a trial starts a server of its own: a million requests in all
IMAGES = 16
WARM_REQUESTS, GROWTH = 4_000, 0.10
LOADS = tuple((clients, images) for clients in (1, 4, 16, 64) for images in (1, 2, 8, 64))
REQUESTS_OF_A_LOAD = 200


@dataclasses.dataclass(frozen=True)
class Request:
    """A whole HTTP request, and the outputs that must come back; they are filled in by the first answer."""

    content: bytes

    @classmethod
    def of(cls, images: list[bytes]) -> "Request":
        rows = np.zeros((len(images), max(map(len, images))), np.uint8)
        for row, image in zip(rows, images, strict=True):
            row[: len(image)] = np.frombuffer(image, np.uint8)
        tensor = tritonclient.http.InferInput("image", list(rows.shape), "UINT8")
        tensor.set_data_from_numpy(rows)
        outputs = [tritonclient.http.InferRequestedOutput(name, binary_data=False) for name in OUTPUTS]
        body, header_length = tritonclient.http.InferenceServerClient.generate_request_body([tensor], outputs=outputs)
        head = (
            f"POST /v2/models/{NAME}/infer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
            f"Inference-Header-Content-Length: {header_length}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return cls(head.encode() + body)


class Client:
    """A connection that stays; `vanish` cuts it in the middle of a request."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = socket.create_connection(("127.0.0.1", port), 60)

    def ask(self, request: Request) -> object:
        """Return the outputs, or the error in words."""
        self._socket.sendall(request.content)
        response = http.client.HTTPResponse(self._socket)
        response.begin()
        content = json.loads(response.read())
        return content.get("outputs") or content.get("error", f"status {response.status}")

    def vanish(self, request: Request, source: random.Random) -> None:
        """Send a part of the request, or all of it, and reset the connection; then connect again."""
        self._socket.sendall(request.content[: source.randint(1, len(request.content))])
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
        self._socket = socket.create_connection(("127.0.0.1", self._port), 60)

    def close(self) -> None:
        self._socket.close()


def repository(material: pathlib.Path) -> None:
    """Write the tiny model's repository, and unpack the server."""
    tiny_artifacts(material)
    artifact = open_artifact(material / "fp32")
    options = RepositoryOptions(
        output=material / "repository",
        name=NAME,
        labels=[str(label) for label in range(artifact.manifest.classes)],
        golden_image=encoded("JPEG", 0),
        backends=(TritonBackend.PYTHON,),
    )
    write_repository(artifact, options)
    install_server(material / "server")


@contextlib.contextmanager
def _served(case: Case) -> Iterator[Server]:
    program = next((case.material / "server").rglob("bin/tritonserver")).parents[1]
    with Server(program, line_for(case.material / "repository"), case.folder / "server.log") as server:
        yield server


def _requests(images: int = 1) -> list[Request]:
    return [Request.of([encoded(("JPEG", "PNG")[n % 2], n + m) for m in range(images)]) for n in range(IMAGES)]


def _client_loop(port: int, number: int, count: int, requests: list[Request], expected: list[object]) -> list[str]:
    """Ask so many times; return what came back otherwise than it should."""
    source, faults = random.Random(number), []
    client = Client(port)
    for turn in range(count):
        index = source.randrange(len(requests))
        if number % VANISHING == 0 and turn % 10 == 9:
            client.vanish(requests[index], source)
            continue
        answer = client.ask(requests[index])
        if answer != expected[index]:
            faults.append(f"client {number}, turn {turn}: {str(answer)[:200]}")
    client.close()
    return faults


def _load(server: Server, clients: int, count: int, requests: list[Request], expected: list[object]) -> list[str]:
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        jobs = [
            pool.submit(_client_loop, server.http_port, number, count // clients, requests, expected)
            for number in range(clients)
        ]
        return [fault for job in jobs for fault in job.result()]


def _expected(server: Server, requests: list[Request]) -> list[object]:
    client = Client(server.http_port)
    answers = [client.ask(request) for request in requests]
    client.close()
    assert all(isinstance(answer, list) for answer in answers), answers
    return answers


def soaked(case: Case) -> Result:
    """Sixty-four clients, a fifth of which drop connections: the others' answers are right, memory does not grow."""
    with _served(case) as server:
        requests = _requests()
        expected = _expected(server, requests)
        faults = _load(server, CLIENTS, WARM_REQUESTS, requests, expected)
        warm = server.resident_bytes()
        faults += _load(server, CLIENTS, REQUESTS - WARM_REQUESTS, requests, expected)
        growth = server.resident_bytes() / warm - 1
    if growth > GROWTH:
        faults.append(f"memory grew by {100 * growth:.1f}%")
    return Result(f"{REQUESTS} requests", f"{len(faults)} wrong: {faults[0]}" if faults else "")


def every_load(case: Case) -> Result:
    """So many clients, so many images a request."""
    clients, images = LOADS[case.index % len(LOADS)]
    with _served(case) as server:
        requests = _requests(images)
        faults = _load(server, clients, max(clients, REQUESTS_OF_A_LOAD), requests, _expected(server, requests))
    return Result(f"{clients} clients", f"{images} images a request: {faults[0]}" if faults else "")


def another_answer_is_seen(case: Case) -> Result:
    """A control: answers that are another image's are told."""
    with _served(case) as server:
        requests = _requests()
        expected = _expected(server, requests)
        wrong = [f"not {answer}" for answer in expected]
        faults = _load(server, 4, 40, requests, list(wrong))
    return Result("wrong", faults[0] if faults else "")


FIGURES = (
    Figure(
        number="22",
        name="every load: clients × images a request",
        count=len(LOADS),
        trial=every_load,
        controls=(another_answer_is_seen,),
        prepare=repository,
        processes=1,
    ),
    Figure(
        number="19, 20",
        name=f"{REQUESTS} requests of {CLIENTS} clients, of which a fifth vanish, to a Triton server",
        count=TRIALS,
        trial=soaked,
        controls=(another_answer_is_seen,),
        prepare=repository,
        processes=1,
    ),
) if WHEEL.is_dir() else ()  # fmt: skip
