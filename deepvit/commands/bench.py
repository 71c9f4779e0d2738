"""`bench`: how fast models are, side by side in one run."""

import pathlib
import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from deepvit.runtime.errors import InputError

from .terminal.console import check_json, out, print_next, write_json
from .terminal.options import (
    RANDOM_WEIGHTS,
    AllowHostCode,
    Checkpoint,
    Json,
    NoEma,
    Pretrained,
    Provider,
    TrustUnverified,
    weights_from,
)
from .terminal.progress import note, progress_bar

if TYPE_CHECKING:
    from deepvit.measure.bench.turns import BenchmarkOptions


def bench(
    models: Annotated[list[str], typer.Argument(help="Artifact folders, their model.onnx or plan, or variants.")],
    batch_sizes: Annotated[str, typer.Option(help="Images per run, as in 1,8,64.")] = "1,8",
    rounds: Annotated[int, typer.Option(min=1, help="How often every model has its turn, per batch size.")] = 15,
    turn: Annotated[float, typer.Option(min=0.01, max=60, help="Seconds of a turn.")] = 0.5,
    peers: Annotated[
        str | None,
        typer.Option(help="pytorch, pytorch-fp16, compile, compile-fp16, plain-onnx, openvino, or none; all here."),
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="The model, as named, that the others are divided by.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of a run on the CPU; as many as cores.")] = None,
    plot: Annotated[pathlib.Path | None, typer.Option(help="Latency against throughput, to a PNG, SVG or PDF.")] = None,
    checkpoint: Checkpoint = None,
    pretrained: Pretrained = False,
    no_ema: NoEma = False,
    provider: Provider = None,
    trust_unverified: TrustUnverified = False,
    allow_host_code: AllowHostCode = False,
    json_path: Json = None,
) -> None:
    """Time models and their peers in turns: latency percentiles, throughput, memory, time to the first answer."""
    from deepvit.measure.bench.peers import peers_from
    from deepvit.measure.bench.pictures import draw_benchmark
    from deepvit.measure.bench.subjects import subjects_of
    from deepvit.measure.bench.turns import run_benchmark
    from deepvit.measure.bench.words import describe_benchmark
    from deepvit.measure.opened import SessionOptions

    check_json(json_path)
    options = _options_from(batch_sizes, rounds, turn)
    how = SessionOptions(
        provider=provider, trust_unverified=trust_unverified, allow_host_code=allow_host_code, threads=threads
    )
    weights = weights_from(checkpoint, pretrained, no_ema, None)
    subjects = subjects_of(models, peers_from(peers), how, weights, max(options.batches))
    if any(subject.random_weights for subject in subjects):
        note(RANDOM_WEIGHTS)
    with progress_bar("timing", 1) as advance:
        found = run_benchmark(subjects, options, f"python cli.py {shlex.join(sys.argv[1:])}", advance, baseline)
    for line in describe_benchmark(found):
        out.print(line)
    if plot is not None:
        draw_benchmark(found, plot)
    write_json(json_path, lambda: found.model_dump_json(indent=2))
    print_next(f"python cli.py eval {' '.join(map(shlex.quote, models))} --imagenet /data")


def _options_from(batch_sizes: str, rounds: int, turn: float) -> "BenchmarkOptions":
    from deepvit.measure.bench.turns import BenchmarkOptions

    parts = batch_sizes.split(",")
    if not all(part.isascii() and part.isdigit() and len(part) < 5 for part in parts):
        raise InputError(f"--batch-sizes {batch_sizes}: expected numbers by commas, as in 1,8,64")
    return BenchmarkOptions(batches=tuple(sorted(map(int, parts))), rounds=rounds, turn_s=turn)
