"""Throughput in ONNX Runtime on a CPU: our graphs against the plain export of the original-style model, in one run.

The sessions take turns, round after round, so that a drift of the machine's speed meets all of them. Weights are
random. Usage: python benchmarks/onnxruntime_cpu.py [VARIANT] [--rounds N]; writes benchmarks/results/.
"""

import argparse
import sys
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.common.interleaved import interleave, machine, print_rows, write_result
from deepvit.export.graph.float32 import fold_and_prove, graph_module
from deepvit.export.graph.onnx_file import to_bytes
from deepvit.export.graph.trace import onnx_from_module
from deepvit.export.options import GraphOptions, Target
from deepvit.measure.bench.plain import plain_export
from deepvit.model.load import LoadedModel, load_model
from deepvit.runtime.artifact.manifest import MixForm, Precision
from deepvit.runtime.ort.graph import OnnxGraph

BATCHES = (1, 8)
PLAIN = "plain export"
MAX_ABS = 1e-4


def our_export(loaded: LoadedModel, options: GraphOptions) -> bytes:
    """Export as `python cli.py export --fp32` does."""
    size = loaded.module.img_size
    images = np.zeros((1, 3, size, size), np.float32)
    spec = options.spec
    folded, _, _ = fold_and_prove(loaded.module, spec, images)
    graph = graph_module(folded, spec, loaded.preprocessing())
    return to_bytes(onnx_from_module(graph, torch.from_numpy(images), spec.batch, spec.opset))


def exports(variant: str) -> dict[str, Callable[[], bytes]]:
    """Return what is compared, by name."""

    def fresh() -> LoadedModel:
        return load_model(variant)

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
    runs = {name: lambda graph=graph: graph.run({"images": images}) for name, graph in graphs.items()}
    return interleave(runs, PLAIN, batch, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant", nargs="?", default="deepvit_32")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    graphs = {}
    for name, make in exports(arguments.variant).items():
        graphs[name] = OnnxGraph(make(), name=name)
        print(f"exported: {name}", file=sys.stderr)
    size = load_model(arguments.variant).module.img_size
    results = {
        str(batch): measure(graphs, batch, size, arguments.rounds * (4 if batch == 1 else 1)) for batch in BATCHES
    }
    for batch, rows in results.items():
        print(f"\n{arguments.variant}, random weights, FP32, batch {batch}")
        print_rows(rows)
    command = f"python benchmarks/onnxruntime_cpu.py {arguments.variant} --rounds {arguments.rounds}"
    content = {
        "command": command,
        "variant": arguments.variant,
        "weights": "random",
        "machine": machine(),
        "batch": results,
    }
    write_result(f"onnxruntime_cpu-{arguments.variant}", content)


if __name__ == "__main__":
    main()
