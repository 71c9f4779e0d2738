"""One benchmarked model in a process of its own, which opens it, runs it when asked, and tells what it took."""

import dataclasses
import itertools
import multiprocessing
import pathlib
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from deepvit.processes import end_with_parent, without_interrupts
from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.opening import open_session
from deepvit.runtime.ort.arithmetic import Arithmetic
from deepvit.runtime.session import Session, begin, run_each, runs_at_once
from deepvit.runtime.session.tensors import Images, Logits, RunTimes

from .conditions import peak_host_bytes
from .inputs import pictures

Opener = Callable[[], Session]  # picklable
START_S = 900  # how long opening may take; torch.compile is slow


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileOpener:
    """Opens an artifact, or a file of one, as a server does, and loads nothing but what runs it.

    A graph that ONNX Runtime refuses as it is, of BF16 on a CPU, is emulated, and its session says so.
    """

    path: pathlib.Path
    provider: str | None = None
    trust_unverified: bool = False
    allow_host_code: bool = False
    threads: int | None = None

    def __call__(self) -> Session:
        try:
            return self._opened(Arithmetic.NATIVE)
        except MissingError:
            return self._opened(Arithmetic.AS_DECLARED)

    def _opened(self, arithmetic: Arithmetic) -> Session:
        return open_session(
            self.path,
            self.provider,
            arithmetic=arithmetic,
            trust_unverified=self.trust_unverified,
            allow_host_code=self.allow_host_code,
            threads=self.threads,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpeningReply:
    """What a process says when its model has answered once."""

    runs_on: str
    is_emulated: bool
    open_s: float  # the session alone
    dtype: str  # of its input
    logits: Logits  # of one image


@dataclasses.dataclass(frozen=True, kw_only=True)
class TurnReply:
    """One turn: seconds of each run by itself, their processor time, and the most host memory so far."""

    seconds: list[float]
    cpu_s: float  # processor time of all of them, on whatever cores
    peak_host_bytes: int | None
    times: list[RunTimes]  # of each run on a GPU; empty where there is none
    overlapped: tuple[int, float] | None  # then as many runs at once as can be: how many, and seconds of all together


class BenchmarkWorker:
    """A process that holds one model.

    Args:
        name: What errors call it.
        opener: Opens the session there.

    Raises:
        MissingError, InputError: It cannot be opened; the message says why.
    """

    def __init__(self, name: str, opener: Opener) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, opener), daemon=False)
        start = time.perf_counter()
        with without_interrupts():
            self._process.start()
        theirs.close()
        try:
            reply = self._reply(START_S)
        except BaseException:  # Ctrl-C while a model opens, say: nobody else has this process yet
            self.close()
            raise
        assert isinstance(reply, OpeningReply)
        self.first_answer_s = time.perf_counter() - start  # the process started, everything loaded, one image run
        self.opening = reply

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def turn(self, batch: int, seconds: float, least_runs: int) -> TurnReply:
        """Run batches for so long, and at least so often, and where runs overlap as long again with some at once.

        The first run, which finds caches cold, does not count.
        """
        reply = self._reply(START_S, (batch, seconds, least_runs))
        assert isinstance(reply, TurnReply)
        return reply

    def _reply(self, timeout_s: float, request: tuple[int, float, int] | None = None) -> OpeningReply | TurnReply:
        """Return the answer to `request`, or to having been opened."""
        try:
            if request is not None:
                self._pipe.send(request)
            if not self._pipe.poll(timeout_s):
                self.close()
                raise MissingError(f"{self.name} did not answer within {timeout_s:.0f} s")
            reply = self._pipe.recv()
        except (EOFError, OSError) as error:  # OSError: the pipe is broken, which is not that of our own output
            raise MissingError(f"{self.name}: its process ended, usually for want of memory") from error
        if isinstance(reply, BaseException):
            self.close()
            raise reply
        if not isinstance(reply, OpeningReply | TurnReply):
            raise TypeError(f"a reply of type {type(reply).__name__}")
        return reply

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(pipe: Connection, opener: Opener) -> None:
    end_with_parent()
    try:
        start = time.perf_counter()
        session = opener()
        open_s = time.perf_counter() - start
        logits = session.run(pictures(session, 1))
        pipe.send(
            OpeningReply(
                runs_on=session.description,
                is_emulated=session.is_emulated,
                open_s=open_s,
                dtype=session.input.dtype,
                logits=logits,
            )
        )
        while True:
            batch, seconds, least_runs = pipe.recv()
            pipe.send(_run_turn(session, batch, seconds, least_runs))
    except EOFError:
        return  # the benchmark is over
    except Exception as error:  # noqa: BLE001 - whatever it is, the benchmark has to say which model and why
        pipe.send(_sendable(error))


def _sendable(error: Exception) -> Exception:
    code = getattr(error, "exit_code", None)
    text = " ".join(str(error).split())[:300] or type(error).__name__
    if code == MissingError.exit_code:
        return MissingError(text)
    return InputError(text if code is not None else f"{type(error).__name__}: {text}")


def _run_turn(session: Session, batch: int, seconds: float, least_runs: int) -> TurnReply:
    images = pictures(session, batch)
    session.run(images)
    durations: list[float] = []
    times: list[RunTimes] = []
    cpu_start = time.process_time()
    while len(durations) < least_runs or sum(durations) < seconds:
        start = time.perf_counter()
        run = begin(session, images)
        run.result()
        durations.append(time.perf_counter() - start)
        if run.times is not None:
            times.append(run.times)
    cpu_s = time.process_time() - cpu_start
    overlapped = None if runs_at_once(session) == 1 else _run_overlapped(session, images, seconds, least_runs)
    return TurnReply(
        seconds=durations, cpu_s=cpu_s, peak_host_bytes=peak_host_bytes(), times=times, overlapped=overlapped
    )


def _run_overlapped(session: Session, images: Images, seconds: float, least_runs: int) -> tuple[int, float]:
    """Return how many runs there were, and how long all took, the first's copy in and the last's copy out included."""
    start = time.perf_counter()

    def goes_on(begun: int) -> bool:
        return begun < least_runs or time.perf_counter() - start < seconds

    batches = (images for _ in itertools.takewhile(goes_on, itertools.count()))
    runs = sum(1 for _ in run_each(session, batches))
    return runs, time.perf_counter() - start
