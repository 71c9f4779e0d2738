"""A Triton server under load, beside bare loops in Python and C++ over the same artifact and images in the same run.

    python benchmarks/triton_load.py                                     sweep of concurrency over HTTP and gRPC
    python benchmarks/triton_load.py --requests 20000 --concurrency 8    one long run: errors and memory

The server is the one that `make test` unpacks, on loopback; the C++ loop needs `make cpp`.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import onnxruntime
import tritonclient.grpc
import tritonclient.http

from benchmarks.common.c_runtime import CModel
from benchmarks.common.interleaved import machine, write_result
from deepvit.images.class_names import names_or_default
from deepvit.images.samples import SAMPLES
from deepvit.runtime import Artifact, crop_image, open_artifact, open_session
from deepvit.runtime.triton.options import RepositoryOptions, TritonBackend
from deepvit.runtime.triton.repository import write_repository
from tests.doubles.triton_server import WHEEL, Server, install_server, line_for

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONCURRENCY = (1, 2, 4, 8, 16)
SECONDS = 8.0  # of every point of the sweep, and of every bare loop
WARM_REQUESTS = 1000  # after which memory must not grow
CLIENTS = {"http": tritonclient.http, "grpc": tritonclient.grpc}
Ask = Callable[[bytes], object]


def asker(server: Server, kind: str, ensemble: str) -> Ask:
    """Return a function that classifies one image, over a connection of every thread's own, as the HTTP client needs."""
    own = threading.local()

    def ask(encoded: bytes) -> object:
        if not hasattr(own, "client"):
            own.client = server.http() if kind == "http" else server.grpc()
        image = CLIENTS[kind].InferInput("image", [1, len(encoded)], "UINT8")
        image.set_data_from_numpy(np.frombuffer(encoded, np.uint8)[None])
        return own.client.infer(ensemble, [image]).as_numpy("classes")

    return ask


def drive(asks: list[Ask], images: list[bytes], seconds: float) -> dict[str, float]:
    """Let every asker ask without pause for so long; latencies in ms, throughput in images per second."""
    end = time.perf_counter() + seconds

    def loop(ask: Ask) -> list[float]:
        latencies = []
        while time.perf_counter() < end:
            start = time.perf_counter()
            ask(images[len(latencies) % len(images)])
            latencies.append(1000 * (time.perf_counter() - start))
        return latencies

    with concurrent.futures.ThreadPoolExecutor(len(asks)) as pool:
        start = time.perf_counter()
        latencies = np.concatenate([np.asarray(found) for found in pool.map(loop, asks)])
        elapsed = time.perf_counter() - start
    return {
        "images_per_second": len(latencies) / elapsed,
        **{f"p{share}_ms": float(np.percentile(latencies, share)) for share in (50, 95, 99)},
    }


def totals(server: Server) -> dict[str, collections.Counter[str]]:
    """Triton's own counters of every model: requests, nanoseconds in the queue and computing, executions."""
    found = {}
    for stats in server.http().get_inference_statistics()["model_stats"]:
        parts = stats["inference_stats"]
        counters = {
            name: int(parts[name]["ns"]) for name in ("queue", "compute_input", "compute_infer", "compute_output")
        }
        found[stats["name"]] = collections.Counter(
            counters, requests=int(parts["success"]["count"]), executions=int(stats["execution_count"])
        )
    return found


def split(before: dict[str, collections.Counter[str]], after: dict[str, collections.Counter[str]]) -> dict[str, object]:
    """Mean milliseconds per request of each model in the queue and computing, and requests per execution."""
    rows = {}
    for name, counters in after.items():
        change = {key: value - before[name][key] for key, value in counters.items()}
        if change["requests"] and change["executions"]:
            compute = sum(change[key] for key in ("compute_input", "compute_infer", "compute_output"))
            rows[name] = {
                "queue_ms": change["queue"] / change["requests"] / 1e6,
                "compute_ms": compute / change["requests"] / 1e6,
                "mean_batch": change["requests"] / change["executions"],
            }
    return rows


def sweep(server: Server, ensemble: str, images: list[bytes]) -> list[dict[str, object]]:
    """Measure every protocol at every concurrency."""
    rows: list[dict[str, object]] = []
    for kind in CLIENTS:
        for concurrency in CONCURRENCY:
            before = totals(server)
            found = drive([asker(server, kind, ensemble) for _ in range(concurrency)], images, SECONDS)
            rows.append({"client": kind, "concurrency": concurrency, **found, "models": split(before, totals(server))})
            print_row(f"Triton, {kind}, concurrency {concurrency}", found)
    return rows


def bare_loops(artifact: Artifact, images: list[bytes]) -> list[dict[str, object]]:
    """The same images, one by one, without a server."""
    manifest, session = artifact.manifest, open_session(artifact.folder)
    library = next(pathlib.Path(onnxruntime.__path__[0]).glob("capi/libonnxruntime.so.1*"))
    c_model = CModel(artifact.folder, library, artifact.manifest.classes)

    def python(encoded: bytes) -> object:
        return session.run(manifest.input_from(crop_image(encoded, manifest.preprocess)[None]))

    for image in images:  # and they agree
        np.testing.assert_allclose(c_model.classify(image), np.asarray(python(image))[0], atol=1e-5)
    rows: list[dict[str, object]] = []
    loops: tuple[tuple[str, Ask], ...] = (("bare loop, Python", python), ("bare loop, C++", c_model.classify))
    for name, ask in loops:
        found = drive([ask], images, SECONDS)
        rows.append({"loop": name, **found})
        print_row(name, found)
    return rows


def print_row(name: str, row: dict[str, float]) -> None:
    print(
        f"{name:32s} {row['images_per_second']:7.1f} images/s   p50 {row['p50_ms']:7.1f}   p95 {row['p95_ms']:7.1f}   "
        f"p99 {row['p99_ms']:7.1f} ms"
    )


def soak(server: Server, ensemble: str, images: list[bytes], requests: int, concurrency: int) -> dict[str, object]:
    """Send so many requests, half of them over each protocol; any error ends the run."""
    asks = [asker(server, kind, ensemble) for kind in CLIENTS for _ in range(max(concurrency // 2, 1))]
    memory: dict[int, int] = {}
    with concurrent.futures.ThreadPoolExecutor(len(asks)) as pool:
        for first in range(0, requests, WARM_REQUESTS):
            numbers = range(first, min(first + WARM_REQUESTS, requests))
            list(pool.map(lambda number: asks[number % len(asks)](images[number % len(images)]), numbers))
            memory[numbers.stop] = server.resident_bytes()
            print(f"{numbers.stop:7d} requests, {memory[numbers.stop] / 1e6:.1f} MB", file=sys.stderr)
    warm = memory[min(WARM_REQUESTS, requests)]
    growth = memory[requests] / warm - 1
    print(f"{requests} requests without an error; memory {warm / 1e6:.1f} MB, then {100 * growth:+.2f}%")
    return {"requests": requests, "concurrency": len(asks), "resident_bytes": memory, "growth": growth}


@contextlib.contextmanager
def served(artifact: Artifact) -> Iterator[tuple[Server, str]]:
    """Package the artifact and serve it from a temporary folder."""
    name = artifact.manifest.variant
    with tempfile.TemporaryDirectory(prefix="deepvit-triton-") as folder:
        options = RepositoryOptions(
            output=pathlib.Path(folder) / "repository",
            name=name,
            labels=names_or_default(artifact.manifest.class_names, artifact.manifest.classes),
            golden_image=(SAMPLES / "astronaut.jpg").read_bytes(),
            backends=(TritonBackend.PYTHON,),
        )
        write_repository(artifact, options)
        program = install_server(pathlib.Path(folder) / "server")
        with Server(program, line_for(options.output), pathlib.Path(folder) / "server.log") as server:
            yield server, name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", nargs="?", type=pathlib.Path, help="default: digits_cnn, FP32, exported here")
    parser.add_argument("--requests", type=int, help="one run of so many requests instead of the sweep")
    parser.add_argument("--concurrency", type=int, default=8, help="of that run")
    arguments = parser.parse_args()
    if not WHEEL.is_dir():
        sys.exit(f"error: {WHEEL} is missing; run make test once, which unpacks the server there")
    folder = arguments.artifact or ROOT / "artifacts" / "digits_cnn-fp32"
    if arguments.artifact is None:
        command = [sys.executable, "cli.py", "export", "digits_cnn", "--fp32", "--pretrained"]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    artifact = open_artifact(folder)
    images = [path.read_bytes() for path in sorted(SAMPLES.glob("*.jpg"))]
    content: dict[str, object] = {
        "command": " ".join(["python", "benchmarks/triton_load.py", *sys.argv[1:]]),
        "variant": artifact.manifest.variant,
        "precision": artifact.manifest.precision.value,
        "weights": artifact.manifest.weights.source,
        "images": "deepvit/images/photographs, JPEG",
        "machine": machine(),
    }
    with served(artifact) as (server, ensemble):
        if arguments.requests is not None:
            result = soak(server, ensemble, images, arguments.requests, arguments.concurrency)
            write_result(f"triton_soak-{artifact.manifest.variant}", content | {"soak": result})
            return
        loops = bare_loops(artifact, images)
        write_result(
            f"triton_load-{artifact.manifest.variant}",
            content | {"bare": loops, "triton": sweep(server, ensemble, images)},
        )


if __name__ == "__main__":
    main()
