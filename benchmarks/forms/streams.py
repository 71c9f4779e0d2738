"""Throughput in OpenVINO of callers who have one image each, with one stream and with two, and of batches, in turns.

Usage: python -m benchmarks.forms.streams [VARIANT]; writes benchmarks/results/streams-VARIANT.json. Weights are random.
"""

import argparse
import concurrent.futures
import pathlib
import tempfile
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from benchmarks.common.command_line import run_command
from benchmarks.common.interleaved import interleave, machine, print_rows, write_result
from deepvit.runtime import Session, open_session
from deepvit.runtime.openvino.library import OPENVINO

EXPORTS = {"fp32": ("--fp32",), "bf16": ("--bf16",), "int8": ("--int8",)}
STREAMS = (1, 2)
CALLERS = 4
IMAGES = 32  # of a round
BATCH = 8
ROUNDS = 9
Images = npt.NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant", nargs="?", default="deepvit_s")
    variant = parser.parse_args().variant
    with tempfile.TemporaryDirectory() as name, concurrent.futures.ThreadPoolExecutor(CALLERS) as callers:
        folder = pathlib.Path(name)
        found = {}
        for precision, options in EXPORTS.items():
            run_command("export", variant, *options, "--target", "cpu", "--output", precision, folder=folder)
            print(f"\n{variant} {precision}")
            found[precision] = measure(folder / precision, callers)
            print_rows(found[precision])
    command = f"python -m benchmarks.forms.streams {variant}"
    setting = {"variant": variant, "callers": CALLERS, "images": IMAGES, "batch": BATCH, "rounds": ROUNDS}
    write_result(f"streams-{variant}", {"command": command, **setting, "machine": machine(), "found": found})


def measure(artifact: pathlib.Path, callers: concurrent.futures.Executor) -> dict[str, dict[str, float]]:
    """Return images a second, by how they are asked for."""
    runs: dict[str, Callable[[], object]] = {}
    for streams in STREAMS:
        session = open_session(artifact, OPENVINO, streams=streams)
        images = np.random.default_rng(0).standard_normal((IMAGES, *session.input.shape[1:])).astype(np.float32)
        for asked, run in (("one by one", one_by_one(session, images, callers)), ("batches", batches(session, images))):
            runs[f"{asked}, {streams} stream{'s' * (streams > 1)}"] = run
    return interleave(runs, next(iter(runs)), IMAGES, ROUNDS)


def one_by_one(session: Session, images: Images, callers: concurrent.futures.Executor) -> Callable[[], object]:
    """Return what lets each caller ask for one image, and for another when that is answered."""
    return lambda: list(callers.map(lambda n: session.run(images[n : n + 1]), range(len(images))))


def batches(session: Session, images: Images) -> Callable[[], object]:
    """Return what asks for batches, one after the other."""
    return lambda: [session.run(images[n : n + BATCH]) for n in range(0, len(images), BATCH)]


if __name__ == "__main__":
    main()
