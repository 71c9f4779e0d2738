"""What the timing scripts share: sessions that take turns, and a description of the machine."""

import json
import pathlib
import statistics
import time
from collections.abc import Callable

from deepvit.measure.bench.conditions import conditions_here


def interleave(
    runs: dict[str, Callable[[], object]], baseline: str, images: int, rounds: int
) -> dict[str, dict[str, float]]:
    """Time every run once per round, and return its median, its best, and its speed-up over `baseline` round by round.

    A drift of the machine's speed so meets all of them.
    """
    for run in runs.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    found = {}
    for name, times in seconds.items():
        ratios = sorted(base / own for base, own in zip(seconds[baseline], times, strict=True))
        found[name] = {
            "images_per_second_median": images / statistics.median(times),
            "images_per_second_best": images / min(times),
            "speedup_median": statistics.median(ratios),
            "speedup_quartile_low": ratios[len(ratios) // 4],
            "speedup_quartile_high": ratios[-1 - len(ratios) // 4],
        }
    return found


def print_rows(rows: dict[str, dict[str, float]]) -> None:
    """Print what `interleave` returned."""
    for name, row in rows.items():
        print(
            f"{name:36s} {row['images_per_second_median']:7.1f} images/s   {row['speedup_median']:.2f}× "
            f"({row['speedup_quartile_low']:.2f} to {row['speedup_quartile_high']:.2f})"
        )


def write_result(name: str, content: dict[str, object]) -> None:
    """Write benchmarks/results/NAME.json."""
    path = pathlib.Path(__file__).parents[1] / "results" / f"{name}.json"
    path.write_text(json.dumps(content, indent=2) + "\n")
    print(f"\nwrote benchmarks/results/{path.name}")


def machine() -> dict[str, object]:
    """Describe this machine."""
    return conditions_here().model_dump()
