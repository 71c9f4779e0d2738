"""Leases, lent to runs that one call begins and another waits for; nobody keeps one by forgetting a run."""

import collections
import contextlib
import threading
from collections.abc import Callable, Iterator

from ..errors import DeviceError
from ..session.tensors import RunTimes
from .lease import Array, Lease


class Flight:
    """One run under way. Whoever comes first waits for it: who began it, who needs its lease, or who closes the engine.

    Args:
        lease: Gives what it runs on.
        land: Called once, with the lease when the run has ended, or with None where it failed.
    """

    def __init__(self, lease: Callable[[], Lease], land: Callable[["Flight", Lease | None], None]) -> None:
        self._make, self._land = lease, land
        self._lease: Lease | None = None
        self._outputs: dict[str, Array] = {}
        self._error: Exception | None = None
        self._lock = threading.Lock()
        self.is_under_way = True
        self.times: RunTimes | None = None  # of a run that has ended well

    def begin(self, feeds: dict[str, Array], batch: int, rows: int) -> None:
        """Put the run on its lease's stream; what fails is for `outputs` to raise."""
        with self._failures():
            self._lease = self._make()
            self._lease.submit(feeds, batch, rows)

    def land(self) -> None:
        """Wait until the run has ended, and give its lease back; nothing where that was done."""
        with self._lock:
            if not self.is_under_way:
                return
            with self._failures():
                assert self._lease is not None
                self._outputs = self._lease.collect()
                self.times = self._lease.times()
            if self.is_under_way:
                self._end(self._lease)

    def outputs(self) -> dict[str, Array]:
        """Return every output by name, arrays of as many rows as the inputs had.

        Raises:
            DeviceError: The run failed.
        """
        self.land()
        if self._error is not None:
            raise self._error
        return self._outputs

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Let the run end with what is raised within: a lease that failed is closed."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, `outputs` raises it
            self._fail(error)
        except BaseException:
            self._fail(DeviceError("a run was interrupted"))
            raise

    def _fail(self, error: Exception) -> None:
        self._error = error
        if self._lease is not None:
            with contextlib.suppress(DeviceError):  # what failed first is what the caller hears of
                self._lease.close()
        self._end(None)

    def _end(self, lease: Lease | None) -> None:
        self.is_under_way, self._lease = False, None
        self._land(self, lease)


class LeasePool:
    """Leases that are made when needed, lent, and taken back.

    Args:
        make: Makes one.
        most: How many there are at most; whoever needs another one waits for the oldest run.
        name: What errors call the engine.
    """

    def __init__(self, make: Callable[[], Lease], most: int, name: str) -> None:
        self._make, self.most, self._name = make, most, name
        self.idle: list[Lease] = []
        self._flights: collections.deque[Flight] = collections.deque()  # the oldest first
        self._made = 0
        self._is_closed = False
        self._changed = threading.Condition()

    def begin(self, feeds: dict[str, Array], batch: int, rows: int, has_run: Callable[[], None]) -> Flight:
        """Begin a run; see `Lease.submit`. `has_run` is called when it has ended well and its lease is back.

        Raises:
            DeviceError: The pool is closed. What fails otherwise, `Flight.outputs` raises.
        """
        idle = self._take()

        def land(flight: Flight, lease: Lease | None) -> None:
            self._give_back(lease, flight)
            if lease is not None:
                has_run()

        flight = Flight(lambda: idle or self._make(), land)
        flight.begin(feeds, batch, rows)
        with self._changed:
            if flight.is_under_way:
                self._flights.append(flight)
                self._changed.notify_all()
        return flight

    @contextlib.contextmanager
    def lease(self) -> Iterator[Lease]:
        """Lend a lease; one that failed is closed instead of taken back."""
        lease = self._take()
        try:
            if lease is None:
                lease = self._make()
            yield lease
        except BaseException:
            if lease is not None:
                with contextlib.suppress(DeviceError):  # what failed first is what the caller hears of
                    lease.close()
            self._give_back(None)
            raise
        self._give_back(lease)

    def when_idle(self, use: Callable[[], None]) -> bool:
        """Call `use` while no lease is lent, nor can be; False where one is."""
        with self._changed:
            if len(self.idle) != self._made:
                return False
            use()
            return True

    def _take(self) -> Lease | None:
        """Wait for an idle lease, or for leave to make one, which is None."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self.idle or self._made < self.most or self._flights or self._is_closed)
                if self._is_closed:
                    raise DeviceError(f"{self._name} is closed")
                if self.idle:
                    return self.idle.pop()
                if self._made < self.most:
                    self._made += 1
                    return None
                oldest = self._flights[0]
            oldest.land()  # its outputs are kept for whoever began it, which may be this very thread

    def _give_back(self, lease: Lease | None, flight: Flight | None = None) -> None:
        with self._changed:
            if flight is not None and flight in self._flights:
                self._flights.remove(flight)
            if lease is None:
                self._made -= 1
            else:
                self.idle.append(lease)
            self._changed.notify_all()

    @property
    def why_no_graphs(self) -> str | None:
        """See `EngineOnGpu.why_no_graphs`."""
        with self._changed:
            return next((lease.why_no_graphs for lease in self.idle if lease.why_no_graphs), None)

    def land_all(self) -> None:
        """Lend nothing from now on, and wait for all runs under way, whose outputs are kept."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        while oldest := self._oldest():
            oldest.land()

    def _oldest(self) -> Flight | None:
        """Return the oldest run under way; None when all leases are back."""
        with self._changed:
            self._changed.wait_for(lambda: self._flights or len(self.idle) == self._made)
            return self._flights[0] if self._flights else None

    def close(self) -> None:
        """Free the leases, when all runs under way have ended."""
        self.land_all()
        with self._changed:
            for lease in self.idle:
                lease.close()
            self.idle.clear()
            self._made = 0
