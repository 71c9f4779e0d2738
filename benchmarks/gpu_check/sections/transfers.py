"""How fast images come to the GPU and answers back: copies by themselves, and images a second by leases and threads."""

import concurrent.futures
import dataclasses
import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from deepvit.runtime.session import run_each
from deepvit.runtime.trt.session import TensorRtSession

from ..findings import Findings, require_modules
from ..places import Place
from ..stand_in import bytes_at, images_of, opened

BATCH = 32
KERNEL_MS = (0.0, 3.0)  # an engine that takes no time, and about what deepvit_32 is expected to take
LEASES_THREADS = ((1, 1), (2, 1), (2, 2), (3, 3), (4, 4), (4, 8))


def run(findings: Findings, place: Place) -> None:
    if not place.is_fake:
        require_modules("cuda.bindings.nvrtc")
    _copies(findings, place)
    for kernel_ms in KERNEL_MS:
        for leases, threads in LEASES_THREADS:
            name = f"batch {BATCH}, a kernel of {kernel_ms:g} ms, {leases} leases, {threads} threads"
            if findings.has_time(name, 5):
                speed = _images_per_second(place, kernel_ms, leases, threads)
                findings.figure(name, speed, "images/s, copies included")
        name = f"batch {BATCH}, a kernel of {kernel_ms:g} ms, 2 leases, one thread that begins before it waits"
        if findings.has_time(name, 5):
            _overlap(findings, place, kernel_ms, name)


def _overlap(findings: Findings, place: Place, kernel_ms: float, name: str) -> None:
    images = images_of(BATCH, 0, place.side)
    with opened(place, nanoseconds=int(kernel_ms * 1e6), side=place.side, classes=1000) as engine:
        session = TensorRtSession(engine)

        def seconds(runs: int) -> float:
            start = time.perf_counter()
            for _ in run_each(session, itertools.repeat(images, runs)):
                pass
            return time.perf_counter() - start

        seconds(4)  # every lease is made, and its graph recorded
        findings.figure(name, BATCH * place.runs / seconds(place.runs), "images/s, copies included")
        run = session.submit(images)
        run.result()
        assert run.times is not None
        for part, took_ms in dataclasses.asdict(run.times).items():
            findings.figure(f"batch {BATCH}, a kernel of {kernel_ms:g} ms: {part.removesuffix('_ms')}", took_ms, "ms")


def _copies(findings: Findings, place: Place) -> None:
    size = place.copy_bytes
    cuda = place.cuda()
    cuda.use()
    stream, device, address = cuda.create_stream(), cuda.allocate(size), cuda.allocate_pinned(size)
    source, pageable = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    pinned = bytes_at(address, size)

    def finished(copy: Callable[..., None], to: int, origin: int) -> Callable[[], None]:
        def both() -> None:
            copy(to, origin, size, stream)
            cuda.synchronize(stream)

        return both

    copies: dict[str, Callable[[], object]] = {
        "host to host, pageable": lambda: np.copyto(pageable, source),
        "host to host, into pinned memory": lambda: np.copyto(pinned, source),
        "pinned memory to GPU": finished(cuda.copy_to_device, device, address),
        "GPU to pinned memory": finished(cuda.copy_to_host, address, device),
    }
    for name, copy in copies.items():
        findings.figure(f"copy, {name}, {size >> 20} MiB", size / 1e9 / _median_seconds(copy, place.runs), "GB/s")
    wrong = int((pinned != source).sum())
    findings.equal("bytes that came back otherwise", wrong, 0, "bytes")
    cuda.free(device)
    cuda.free_pinned(address)
    cuda.destroy_stream(stream)


def _median_seconds(run: Callable[[], object], count: int) -> float:
    run()
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def _images_per_second(place: Place, kernel_ms: float, leases: int, threads: int) -> float:
    images: dict[str, Any] = {"images": images_of(BATCH, 0, place.side)}
    nanoseconds = int(kernel_ms * 1e6)
    with (
        concurrent.futures.ThreadPoolExecutor(threads) as pool,
        opened(place, leases=leases, nanoseconds=nanoseconds, side=place.side, classes=1000) as engine,
    ):

        def at_once(runs: int) -> float:
            start = time.perf_counter()
            list(pool.map(lambda _: [engine.run(images) for _ in range(runs)], range(threads)))
            return time.perf_counter() - start

        at_once(4)  # every lease is made, and its graph recorded
        return BATCH * place.runs * threads / at_once(place.runs)
