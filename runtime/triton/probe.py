"""Whether the server beside whose repository this lies answers: exit status 0, or 1 and a line that says why not.

    python3 probe.py [http://127.0.0.1:8000 [10]]

Triton calls a Python model ready whose process has died, and then fails its requests. So this asks for the golden
image's classes, and the preprocessing alone several times, since each of its processes can die by itself. It needs
nothing but Python, and runs where it was packaged.
"""

import argparse
import json
import pathlib
import signal
import sys
import urllib.error
import urllib.request
from typing import Any

# Four for each process of the preprocessing (PREPROCESSING_INSTANCES in configs.py): requests go to whichever is idle.
PREPROCESSING_REQUESTS = 8
MAX_ANSWER_BYTES = 16 << 20


class NotReadyError(Exception):
    """What the server did wrong."""


def answer_of(url: str, model: str, image: bytes, outputs: list[str]) -> dict[str, list[Any]]:
    """Send one image to a model, and return its outputs by name."""
    tensor = {"name": "image", "shape": [1, len(image)], "datatype": "UINT8"}
    header = json.dumps(
        {
            "inputs": [tensor | {"parameters": {"binary_data_size": len(image)}}],
            "outputs": [{"name": name} for name in outputs],
        }
    ).encode()
    headers = {"Inference-Header-Content-Length": str(len(header)), "Content-Type": "application/octet-stream"}
    request = urllib.request.Request(f"{url}/v2/models/{model}/infer", header + image, headers)  # noqa: S310 - of the user
    try:
        with urllib.request.urlopen(request) as response:  # noqa: S310 - likewise
            answer = json.loads(response.read(MAX_ANSWER_BYTES))
        return {output["name"]: output["data"] for output in answer["outputs"]}
    except urllib.error.HTTPError as error:
        raise NotReadyError(f"{model}: HTTP {error.code} {error.read(300).decode(errors='replace')}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise NotReadyError(f"{model} answers what Triton does not: {error!r}") from error
    except OSError as error:
        raise NotReadyError(f"{url}: {error}") from error


def probe(url: str, repository: pathlib.Path) -> None:
    """Ask every model of the ensemble.

    Raises:
        NotReadyError: One does not answer, or wrongly.
    """
    ensemble = json.loads((repository / "repository.json").read_text(encoding="utf-8"))["ensemble"]
    preprocess = f"{ensemble}_preprocess"
    image = (repository / preprocess / "1" / "golden.jpg").read_bytes()
    for _ in range(PREPROCESSING_REQUESTS):
        status = answer_of(url, preprocess, image, ["status"]).get("status")
        if status != [0]:
            raise NotReadyError(f"{preprocess} gives the golden image the status {status}, expected [0]")
    answer = answer_of(url, ensemble, image, ["classes", "status"])
    classes = answer.get("classes")
    if answer.get("status") != [0] or not classes or min(classes) < 0:
        raise NotReadyError(f"{ensemble} gives the golden image {answer}, expected classes and the status [0]")


def _out_of_time(*_: object) -> None:
    raise NotReadyError("no answer in time")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8000", help="Triton's HTTP address")
    parser.add_argument("seconds", nargs="?", type=float, default=10, help="for all of it")
    arguments = parser.parse_args()
    if not 0 < arguments.seconds <= 3600:
        parser.error(f"seconds {arguments.seconds}: expected more than 0, at most 3600")
    signal.signal(signal.SIGALRM, _out_of_time)  # a socket's timeout begins anew with every byte
    signal.setitimer(signal.ITIMER_REAL, arguments.seconds)
    try:
        probe(arguments.url.rstrip("/"), pathlib.Path(__file__).resolve().parent)
    except (NotReadyError, OSError, ValueError) as error:
        sys.stderr.write(f"not ready: {' '.join(str(error).split())}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
