"""`bench`: how fast models are, side by side in one run."""

import pathlib
from typing import Annotated

from deepvit.measure.bench.options import BenchmarkOptions
from deepvit.measure.options import SessionOptions, WeightOptions
from deepvit.runtime.options import Help, Without

from .terminal.console import out, print_next, typed, write_json
from .terminal.following import after_bench
from .terminal.options import OUTPUT, RANDOM_WEIGHTS, Json
from .terminal.outputs import check_outputs
from .terminal.progress import note, progress_bar, steps


def bench(
    *,
    models: Annotated[
        tuple[str, ...], Help("Artifact folders, their model.onnx or plan, or variants.", is_argument=True)
    ],
    options: BenchmarkOptions,
    peers: Annotated[
        str | None,
        Help(
            "What to time beside them, of pytorch, pytorch-fp16, compile, compile-fp16, plain-onnx, openvino, "
            "openvino-bf16; or none; all that are here if not given; and, only by name, plain-int8, openvino-int8, "
            "and on a GPU fused-fp16.",
            heading="Peers",
        ),
    ] = None,
    baseline: Annotated[str | None, Help("Model, as named, that the others are divided by.", heading="Peers")] = None,
    plot: Annotated[
        pathlib.Path | None, Help("Draw latency against throughput to this PNG, SVG or PDF.", heading=OUTPUT)
    ] = None,
    weights: Annotated[WeightOptions, Without("img_size", "num_classes")],
    sessions: SessionOptions,
    json_path: Json = None,
) -> None:
    """Time models and their peers in turns: latency percentiles, throughput, memory, time to the first answer."""
    check_outputs(json=json_path, plot=plot, reads=(*models, weights.checkpoint))
    with steps() as step:
        step(f"opening {', '.join(models)}")
        from deepvit.measure.bench.peers import peers_from
        from deepvit.measure.bench.pictures import draw_benchmark
        from deepvit.measure.bench.subjects import subjects_of
        from deepvit.measure.bench.turns import run_benchmark
        from deepvit.measure.bench.words import describe_benchmark

        subjects = subjects_of(models, peers_from(peers), sessions, weights, max(options.batches))
    if any(subject.random_weights for subject in subjects):
        note(RANDOM_WEIGHTS)
    with progress_bar("timing", 1) as advance:
        benchmark = run_benchmark(subjects, options, typed(), advance, baseline)
    for line in describe_benchmark(benchmark):
        out.print(line)
    if plot is not None:
        draw_benchmark(benchmark, plot)
    write_json(json_path, benchmark.to_json)
    print_next(after_bench(models, weights, json_path))
