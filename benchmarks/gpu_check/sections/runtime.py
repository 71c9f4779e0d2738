"""Our CUDA run-time on real CUDA: answers, graphs, batch sizes, threads, captures that fail, and what is left behind.

The engine is the stand-in's: whole numbers are summed, so that every answer is exact or wrong.
"""

import concurrent.futures
import math
from collections.abc import Callable, Iterable

import numpy as np

from deepvit.runtime.errors import DeviceError, NonFiniteError
from deepvit.runtime.session import run_each
from deepvit.runtime.trt.engine import EngineOnGpu
from deepvit.runtime.trt.lease import MOST_SHAPES, RUNS_BEFORE_CAPTURE
from deepvit.runtime.trt.session import TensorRtSession

from ..findings import Findings, require_modules
from ..places import Place
from ..stand_in import Array, Counted, Fault, bytes_at, calls_of, expected, images_of, opened

SIZES = (1, 3, 8, 64)
ROUNDS = 3  # plain, recorded, replayed
MORE_SIZES = MOST_SHAPES + 3  # than there are places
THREADS, REQUESTS = 8, 400
OVERLAPPING = 40  # runs
CYCLES, WARM_UP = 30, 5  # of opening and closing
LOST_BYTES = (
    8 << 20
)  # CUDA hands out memory in pieces of 2 MiB, and keeps a few; 30 engines lost would be 1 GB and more
EXACT = 0.0  # sums of whole numbers


def run(findings: Findings, place: Place) -> None:
    if not place.is_fake:
        require_modules("cuda.bindings.nvrtc")
    _answers(findings, place)
    _graphs(findings, place)
    _pinned(findings, place)
    _threads(findings, place)
    _overlap(findings, place)
    for fault in Fault:
        _failing_capture(findings, place, fault)
    _open_and_close(findings, place)


def _error_of(run: Callable[[Array], object], count: int, seed: int) -> float:
    """Return the largest difference between what is answered for `count` images and what is right; NaN stays NaN."""
    images = images_of(count, seed)
    try:
        logits = np.asarray(run(images))
    except NonFiniteError:
        return math.nan
    return float(np.abs(logits - expected(images)).max())


def _worst(errors: Iterable[float]) -> float:
    return float(np.max(list(errors)))  # NaN where one is, which `max` may pass over


def _logits(engine: EngineOnGpu) -> Callable[[Array], object]:
    return lambda images: engine.run({"images": images})["logits"]


def _answers(findings: Findings, place: Place) -> None:
    with opened(place) as engine:
        session = TensorRtSession(engine)
        for count in (*SIZES, 70):
            worst = _worst(_error_of(session.run, count, seed) for seed in range(ROUNDS))
            split = ", more than one run takes" if count > engine.batch.max else ""
            findings.at_most(f"answers for {count} images{split}, {ROUNDS} times", worst, EXACT, "largest difference")
        sizes = [*range(1, MORE_SIZES + 1)] * ROUNDS
        worst = _worst(_error_of(session.run, count, seed) for seed, count in enumerate(sizes))
        findings.at_most(
            f"answers for {MORE_SIZES} batch sizes in turn, of which {MOST_SHAPES} are kept", worst, EXACT,
            "largest difference",
        )  # fmt: skip
        findings.equal("why there are no graphs", engine.why_no_graphs, None)


def _graphs(findings: Findings, place: Place) -> None:
    with opened(place, leases=1) as engine:
        for seed in range(10):
            _error_of(_logits(engine), 8, seed)
        by_hand = RUNS_BEFORE_CAPTURE + 1  # and once to be recorded
        findings.equal("of 10 runs, those that put work on the stream by hand", calls_of(engine), by_hand, "runs")
        findings.at_most("the eleventh, replayed", _error_of(_logits(engine), 8, 11), EXACT, "largest difference")


def _pinned(findings: Findings, place: Place) -> None:
    cuda = place.cuda()
    cuda.use()
    content = np.random.default_rng(0).integers(0, 256, 1 << 20, np.uint8)
    stream, device = cuda.create_stream(), cuda.allocate(content.nbytes)
    there, back = (cuda.allocate_pinned(content.nbytes) for _ in range(2))
    findings.equal("host memory of ours is page-locked", place.is_pinned(there), True)
    bytes_at(there, content.nbytes)[:] = content
    cuda.copy_to_device(device, there, content.nbytes, stream)
    cuda.copy_to_host(back, device, content.nbytes, stream)
    cuda.synchronize(stream)
    wrong = int((bytes_at(back, content.nbytes) != content).sum())
    findings.equal("bytes that came back otherwise from the GPU", wrong, 0, "bytes")
    cuda.free(device)
    for address in (there, back):
        cuda.free_pinned(address)
    cuda.destroy_stream(stream)


def _threads(findings: Findings, place: Place) -> None:
    with opened(place) as engine, concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        answers = pool.map(lambda seed: _error_of(_logits(engine), 1 + seed % MORE_SIZES, seed), range(REQUESTS))
        worst = _worst(answers)
    findings.at_most(f"{REQUESTS} runs from {THREADS} threads", worst, EXACT, "largest difference")


def _overlap(findings: Findings, place: Place) -> None:
    """Runs of one thread that begin before others are waited for, and some that nobody waits for."""
    batches = [images_of(1 + seed % SIZES[-1], seed) for seed in range(OVERLAPPING)]
    with opened(place) as engine:
        session = TensorRtSession(engine)
        pairs = zip(run_each(session, batches), batches, strict=True)
        try:
            worst = _worst(float(np.abs(logits - expected(images)).max()) for logits, images in pairs)
        except NonFiniteError:
            worst = math.nan
        findings.at_most(f"{OVERLAPPING} runs that overlap", worst, EXACT, "largest difference")
        for images in batches[:5]:
            session.submit(images)
        worst = _error_of(session.run, 8, 1)
        findings.at_most("a run after five that nobody waits for", worst, EXACT, "largest difference")


def _failing_capture(findings: Findings, place: Place, fault: Fault) -> None:
    """A capture that fails must leave a lease that still runs, without graphs, and say why."""
    name = f"a capture that is {fault.value}" if fault is Fault.REFUSED else f"a capture that fails {fault.value}ly"
    with opened(place, leases=1, fault=fault) as engine:
        try:
            worst = _worst(_error_of(_logits(engine), 4, seed) for seed in range(4))
        except DeviceError as error:
            findings.check(f"{name}: the lease still runs", False, str(error), "4 exact answers")
            return
        findings.at_most(f"{name}: 4 answers", worst, EXACT, "largest difference")
        why = engine.why_no_graphs
        findings.check(f"{name}: it is said", why is not None, str(why), "a reason")
        findings.equal(f"{name}: runs without a graph, and one that was recorded", calls_of(engine), 5, "runs")
        findings.note(f"{name}: what CUDA keeps as its last error", place.last_error())
        worst = _error_of(_logits(engine), 9, 9)
        findings.at_most(f"{name}: another batch size on the same lease", worst, EXACT, "largest difference")


def _open_and_close(findings: Findings, place: Place) -> None:
    """Engines of full size are opened, run and closed: everything that was lent is given back."""
    cuda = Counted(place.cuda())

    def cycle() -> None:
        with opened(place, cuda=cuda, most=16, side=place.side) as engine:
            for count in (1, 1, 2, 2):
                engine.run({"images": images_of(count, 0, place.side)})

    for _ in range(WARM_UP):
        cycle()
    before = place.free_bytes()
    for _ in range(CYCLES):
        cycle()
    lost = before - place.free_bytes()
    kept = ", ".join(f"{count} of {name}" for name, count in sorted(cuda.lent.items()) if count)
    findings.equal(f"what {WARM_UP + CYCLES} engines did not give back", kept or "nothing", "nothing")
    findings.at_most(f"memory of the GPU that {CYCLES} engines took with them", lost, LOST_BYTES, "bytes")
