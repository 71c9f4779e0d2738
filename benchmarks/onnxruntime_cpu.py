"""Throughput in ONNX Runtime on a CPU: our graphs against the plain export of the original-style model, in one run.

The sessions take turns, round after round, so that a drift of the machine's speed meets all of them. Weights are
random. Usage: python benchmarks/onnxruntime_cpu.py [VARIANT] [--rounds N]; writes benchmarks/results/.
"""

import argparse
import io
import json
import os
import pathlib
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.original_style import original_style
from export.float32_graph import fold_and_prove
from export.graph_module import GraphModule
from export.model_source import LoadedModel, ModelOptions, load_model
from export.onnx_graph import onnx_from_module, to_bytes
from export.options import Batch, GraphOptions, MixForm, Precision, Target
from runtime.onnxruntime_graph import OnnxGraph, ort

BATCHES = (1, 8)
PLAIN = "plain export"
MAX_ABS = 1e-4


def plain_export(loaded: LoadedModel) -> bytes:
    """Export the original-style model by torch.onnx.export alone."""
    size = loaded.module.img_size
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            original_style(loaded.module),
            (torch.zeros(2, 3, size, size),),
            dynamo=True,
            opset_version=20,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},),
            input_names=["images"],
            output_names=["logits"],
            verbose=False,
        )
    assert program is not None
    program.save(stream)
    return stream.getvalue()


def our_export(loaded: LoadedModel, options: GraphOptions) -> bytes:
    """Export as `python cli.py export --fp32` does."""
    size = loaded.module.img_size
    images = np.zeros((1, 3, size, size), np.float32)
    folded, _, _ = fold_and_prove(loaded.module, options, images)
    graph = GraphModule(folded, options.mix_form, options.qkv_form, options.input_form, loaded.preprocessing()).float()
    return to_bytes(onnx_from_module(graph, torch.from_numpy(images), Batch(), options.opset_version))


def exports(variant: str) -> dict[str, Callable[[], bytes]]:
    """Return what is compared, by name."""

    def fresh() -> LoadedModel:
        return load_model(ModelOptions(variant=variant))

    def ours(target: Target, mix: MixForm) -> Callable[[], bytes]:
        options = GraphOptions(precision=Precision.FP32, target=target, mix=mix)
        return lambda: our_export(fresh(), options)

    return {
        PLAIN: lambda: plain_export(fresh()),
        **{f"--target onnx --mix {mix.value}": ours(Target.ONNX, mix) for mix in MixForm},
        **{f"--target cpu --mix {mix.value}": ours(Target.CPU, mix) for mix in MixForm},
    }


def measure(graphs: dict[str, OnnxGraph], batch: int, size: int, rounds: int) -> dict[str, dict[str, float]]:
    """Time every graph once per round and return its median, its best, and its speed-up round by round."""
    images = np.random.default_rng(0).standard_normal((batch, 3, size, size), np.float32)
    expected = graphs[PLAIN].run({"images": images})["logits"]
    for name, graph in graphs.items():
        worst = np.abs(graph.run({"images": images})["logits"] - expected).max()
        assert worst <= MAX_ABS, f"{name} is off by {worst}"
    seconds: dict[str, list[float]] = {name: [] for name in graphs}
    for _ in range(rounds):
        for name, graph in graphs.items():
            start = time.perf_counter()
            graph.run({"images": images})
            seconds[name].append(time.perf_counter() - start)
    found = {}
    for name, times in seconds.items():
        ratios = sorted(plain / own for plain, own in zip(seconds[PLAIN], times, strict=True))
        found[name] = {
            "images_per_second_median": batch / statistics.median(times),
            "images_per_second_best": batch / min(times),
            "speedup_median": statistics.median(ratios),
            "speedup_quartile_low": ratios[len(ratios) // 4],
            "speedup_quartile_high": ratios[-1 - len(ratios) // 4],
        }
    return found


def machine() -> dict[str, str | int | None]:
    """Describe this machine."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    model = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "avx512": int("avx512f" in flags),
        "python": platform.python_version(),
        "onnxruntime": ort.__version__,
        "torch": torch.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant", nargs="?", default="deepvit_32")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    graphs = {}
    for name, make in exports(arguments.variant).items():
        graphs[name] = OnnxGraph(make(), name=name)
        print(f"exported: {name}", file=sys.stderr)
    size = load_model(ModelOptions(variant=arguments.variant)).module.img_size
    results = {
        str(batch): measure(graphs, batch, size, arguments.rounds * (4 if batch == 1 else 1)) for batch in BATCHES
    }
    for batch, rows in results.items():
        print(f"\n{arguments.variant}, random weights, FP32, batch {batch}")
        for name, row in rows.items():
            print(
                f"{name:36s} {row['images_per_second_median']:7.1f} images/s   {row['speedup_median']:.2f}× "
                f"({row['speedup_quartile_low']:.2f} to {row['speedup_quartile_high']:.2f})"
            )
    path = ROOT / "benchmarks" / "results" / f"onnxruntime_cpu-{arguments.variant}.json"
    command = f"python benchmarks/onnxruntime_cpu.py {arguments.variant} --rounds {arguments.rounds}"
    content = {
        "command": command,
        "variant": arguments.variant,
        "weights": "random",
        "machine": machine(),
        "batch": results,
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
    print(f"\nwrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
