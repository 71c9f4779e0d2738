"""How far INT8 is from FP32 on a processor without VNNI, which QEMU emulates instruction by instruction (qemu-user).

Usage: python -m benchmarks.forms.saturation DATASET; DATASET as examples/digits/make_dataset.py writes it. Needs
qemu-x86_64 on PATH, or its path in QEMU. Writes benchmarks/results/int8-saturation.json. deepvit_s has random weights.
"""

import argparse
import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import numpy.typing as npt

from benchmarks.common.command_line import ROOT, run_command
from benchmarks.common.interleaved import write_result
from deepvit.measure.bench.conditions import conditions_here
from deepvit.metrics.distance import sqnr_of
from deepvit.runtime.artifact import MODEL, open_artifact
from deepvit.runtime.openvino.library import OPENVINO
from deepvit.runtime.openvino.session import OpenVinoSession
from deepvit.runtime.ort.providers import CPU
from deepvit.runtime.ort.session import OnnxRuntimeSession
from deepvit.runtime.preprocess import crop_image, model_input

EMULATED = "Haswell"  # AVX2, no VNNI
PROVIDERS = (CPU, OPENVINO)
IMAGES = {"digits_cnn": 144, "deepvit_s": 4}
EXPORTS = {"fp32": ("--fp32", "--target", "onnx"), "int8": ("--int8", "--target", "cpu")}
Logits = npt.NDArray[np.float32]


def measure(dataset: pathlib.Path, emulator: str, folder: pathlib.Path) -> list[dict[str, object]]:
    """Return a row for each model, engine and processor: SQNR against FP32, and how many classes are FP32's."""
    rows: list[dict[str, object]] = []
    for variant, count in IMAGES.items():
        trained = ("--pretrained",) if variant.startswith("digits") else ()
        for name, options in EXPORTS.items():
            images = ("--imagenet", dataset) if trained else ()
            run_command("export", variant, *options, *trained, *images, "--output", name, folder=folder)
        np.save(folder / "images.npy", _images(dataset, folder / "int8", count))
        exact = _logits([], folder, "fp32", CPU)
        for provider in PROVIDERS:
            for processor, prefix in (("this one", []), (EMULATED, [emulator, "-cpu", EMULATED])):
                logits = _logits(prefix, folder, "int8", provider)
                rows.append(
                    {
                        "variant": variant,
                        "provider": provider,
                        "processor": processor,
                        "sqnr_db": sqnr_of(logits, exact),
                        "same_top1": int((logits.argmax(1) == exact.argmax(1)).sum()),
                        "is_refused": _is_refused(prefix, folder, provider),
                        "images": count,
                    }
                )
                print(rows[-1], flush=True)
        for name in ("fp32", "int8"):
            shutil.rmtree(folder / name)
    return rows


def _images(dataset: pathlib.Path, artifact: pathlib.Path, count: int) -> npt.NDArray[np.generic]:
    """Return images from all over the dataset as the model takes them."""
    preprocessing = open_artifact(artifact).manifest.preprocess
    files = sorted((dataset / "val").rglob("*.JPEG"))
    crops = [crop_image(path, preprocessing) for path in files[:: len(files) // count][:count]]
    return model_input(np.stack(crops), preprocessing, 3)


def _logits(prefix: list[str], folder: pathlib.Path, name: str, provider: str) -> Logits:
    command = [*prefix, sys.executable, "-m", "benchmarks.forms.saturation", "--run", name, provider]
    subprocess.run(
        command, check=True, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL
    )
    logits: Logits = np.load(folder / "logits.npy")
    return logits


def _is_refused(prefix: list[str], folder: pathlib.Path, provider: str) -> bool:
    """Return whether `open_session` refuses it, whose answer to the golden image is too far off then."""
    program = f"from deepvit.runtime import open_session; open_session('int8', {provider!r}, threads=1)"
    ended = subprocess.run(
        [*prefix, sys.executable, "-c", program], check=False, cwd=folder, capture_output=True, text=True
    )
    print(ended.stderr[-300:])
    return ended.returncode != 0


def _run(name: str, provider: str) -> None:
    """Write the logits of images.npy, in another process; not by `open_session`, which may refuse what saturates."""
    images, content = np.load("images.npy"), (pathlib.Path(name) / MODEL).read_bytes()
    session = (
        OpenVinoSession(content, name=name, threads=1)
        if provider == OPENVINO
        else OnnxRuntimeSession(content, name=name, threads=1)
    )
    with contextlib.closing(session):
        np.save("logits.npy", np.concatenate([session.run(images[i : i + 8]) for i in range(0, len(images), 8)]))


def main() -> None:
    if "--run" in sys.argv:
        _run(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=pathlib.Path)
    dataset = parser.parse_args().dataset.resolve()
    emulator = os.environ.get("QEMU") or shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
    if emulator is None:
        raise SystemExit("no qemu-x86_64: on Debian, apt-get install qemu-user")
    with tempfile.TemporaryDirectory() as name:
        rows = measure(dataset, emulator, pathlib.Path(name))
    version = subprocess.run([emulator, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    machine = conditions_here().model_dump()
    write_result("int8-saturation", {"machine": machine, "emulator": version, "emulated": EMULATED, "rows": rows})


if __name__ == "__main__":
    main()
