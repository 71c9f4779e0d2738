"""Batches one after another through a session, copied and computed at the same time where the session can do that.

    for logits in run_each(session, batches): …

is all that most need; `begin` and `Pending.result` are its two halves, for who has a loop of his own.
"""

import collections
import time
from collections.abc import Generator, Iterable
from typing import Protocol, runtime_checkable

from ..errors import NonFiniteError
from .protocol import Session
from .tensors import Images, Logits, RunTimes


class Pending(Protocol):
    """A run that was begun. Nobody has to wait for it: its session can run others all the same, and be closed."""

    seconds: float  # what it took, once there is a result: the time that it shared with the run before counts there
    times: RunTimes | None  # of its parts, likewise, on a GPU

    def result(self) -> Logits:
        """Wait, and return the logits.

        Raises:
            OutOfBoundsError: They are not finite.
            DeviceError: The run failed, in whatever part.
        """


@runtime_checkable
class Overlapping(Protocol):
    """What a session has besides `Session` that copies the images of one run while it computes another."""

    at_once: int  # runs that can be under way

    def submit(self, images: Images) -> Pending:
        """Begin a run, and do not wait for it; `images`, as for `Session.run`, can be changed as soon as this returns.

        Where `at_once` runs are under way the oldest is waited for, and its logits kept.

        Raises:
            InputError: Wrong shape or dtype.
            DeviceError: The session is closed.
        """


class Ended:
    """A run of a session that does one at a time: it is made here and now, and `result` gives what came of it."""

    def __init__(self, session: Session, images: Images) -> None:
        self._logits: Logits | None = None
        self._error: Exception | None = None
        self.times: RunTimes | None = None
        start = time.perf_counter()
        try:
            self._logits = session.run(images)
        except Exception as error:  # noqa: BLE001 - whatever it is, `result` raises it
            self._error = error
        self.seconds = time.perf_counter() - start

    def result(self) -> Logits:
        """See `Pending.result`."""
        if self._error is not None:
            raise self._error
        assert self._logits is not None
        return self._logits


def begin(session: Session, images: Images) -> Pending:
    """Begin a run of any session; see `Overlapping.submit`. One that does one at a time has run when this returns."""
    return session.submit(images) if isinstance(session, Overlapping) else Ended(session, images)


def runs_at_once(session: Session) -> int:
    """Return how many runs of a session can be under way."""
    return session.at_once if isinstance(session, Overlapping) else 1


def run_each(session: Session, batches: Iterable[Images]) -> Generator[Logits, None, None]:
    """Yield the logits of each of `batches`, in order; as many are under way as the session can have.

    Raises:
        OutOfBoundsError, DeviceError: A run failed; the logits of all batches before it were yielded.
        InputError: Wrong shape or dtype, which an engine notices when a run is begun.
    """
    under_way: collections.deque[Pending] = collections.deque()
    for images in batches:
        under_way.append(begin(session, images))
        if len(under_way) >= runs_at_once(session):
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()


def unchecked_result(run: Pending) -> Logits:
    """Return the logits of a run, not finite ones included."""
    try:
        return run.result()
    except NonFiniteError as error:
        return error.logits
