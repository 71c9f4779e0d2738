"""How long the GPU takes for a call: calls are recorded into CUDA graphs, and these take turns."""

import dataclasses
import statistics
from collections.abc import Callable, Mapping

from .places import Place

CALLS = 20  # in a graph, so that what a replay costs is divided by them
ROUNDS = 7
Run = Callable[[], object]


@dataclasses.dataclass(frozen=True)
class Time:
    """Milliseconds of a call: the median of all rounds, and how far its quartiles are apart."""

    median_ms: float
    spread_ms: float


def milliseconds(place: Place, run: Run) -> float | None:
    """Return the time of one call alone; None on fakes, where it is run once."""
    time = times(place, {"": run})[""]
    return None if time is None else time.median_ms


def times(place: Place, runs: Mapping[str, Run], calls: int = CALLS) -> dict[str, Time | None]:
    """Return the time of every run, `calls` of them at once; None on fakes, where each is run once."""
    if place.is_fake:
        for run in runs.values():
            run()
        return dict.fromkeys(runs)
    return dict(in_turns({name: recorded(run, calls) for name, run in runs.items()}, ROUNDS))


def in_turns(timers: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, Time]:
    """Ask every timer once a round, so that a drift of the clocks meets all of them; the first round warms up."""
    found: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds + 1):
        for name, timer in timers.items():
            found[name].append(timer())
    return {name: _time_of(each[1:]) for name, each in found.items()}


def _time_of(times_ms: list[float]) -> Time:
    low, median, high = statistics.quantiles(times_ms, n=4, method="inclusive")
    return Time(median, high - low)


def recorded(run: Run, calls: int) -> Callable[[], float]:
    """Return a timer that replays so many calls of `run` and returns the milliseconds of one of them."""
    import torch

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):  # what is compiled or chosen at first is so before it is recorded
            run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            run()

    def timer() -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        return float(begin.elapsed_time(end)) / calls

    return timer
