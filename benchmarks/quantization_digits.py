"""What INT8 and FP8 cost on trained models: top-1 and agreement with float32 on the held-out images.

Every calibration method, with and without rescaling, on the same 512 training images. Usage:
python benchmarks/quantization_digits.py DATASET [--models NAME NAME], where DATASET is what
examples/digits/make_dataset.py wrote, or another ImageNet folder with models that are trained on it; writes
benchmarks/results/quantization_FOLDER.json, by the name of the dataset's folder.
"""

import argparse
import pathlib

from benchmarks.common.interleaved import machine, write_result
from deepvit.calibration.observe.histogram import Method
from deepvit.calibration.options import Equalization, QuantizationOptions
from deepvit.calibration.quantize import quantize_graph
from deepvit.export.graph.cast import cast_graph
from deepvit.export.graph.float32 import Float32Graph, float32_graph
from deepvit.export.graph.onnx_file import finish
from deepvit.export.graph.proof import graph_logits
from deepvit.export.options import ExportOptions, GraphOptions
from deepvit.export.quantized.calibrated import calibrate_graph
from deepvit.export.quantized.held_out_check import HeldOutCheck
from deepvit.export.quantized.images import calibration_input
from deepvit.images.samples import parity_crops
from deepvit.metrics.result import rounded
from deepvit.model.load import load_model
from deepvit.progress import log_step
from deepvit.runtime.manifest import AccuracyCheck, Precision

MODELS = ("digits_patch", "digits_cnn")
METHODS = ("max", "percentile-99.9", "percentile-99.99", "percentile-99.999", "entropy", "mse")
IMAGES = 512
FORMS = {  # name → precision, rescaling, attention
    "int8": (Precision.INT8, Equalization.ON, False),
    "int8, not rescaled": (Precision.INT8, Equalization.OFF, False),
    "fp8": (Precision.FP8, Equalization.ON, False),
    "fp8 with attention": (Precision.FP8, Equalization.ON, True),
}


def measure(source: Float32Graph, form: str, method: str, dataset: str) -> tuple[AccuracyCheck, float | None]:
    """Quantise as `export` does and check on the held-out images; also the SQNR of the parity images' logits."""
    from deepvit.metrics.distance import compare_logits

    precision, equalization, attention = FORMS[form]
    graph = GraphOptions(precision=precision)
    quantization = QuantizationOptions(
        images=IMAGES, method=Method(method), equalization=equalization, attention=attention
    )
    calibrated = calibrate_graph(
        source,
        graph,
        quantization,
        calibration_input(quantization, dataset, source.preprocessing, log_step, is_random=False),
        log_step,
    )
    model = cast_graph(finish(quantize_graph(calibrated.model, calibrated.ranges)), graph.rest)
    options = ExportOptions(graph=graph, output=pathlib.Path(), imagenet=dataset, quantization=quantization)
    checks = HeldOutCheck(source, calibrated.images, options, log_step)
    assert checks.held_out is not None
    check, _ = checks.measure(model, checks.held_out)
    logits = graph_logits(model, source.images, form)
    return check, compare_logits("", "", logits, source.logits).sqnr_db


def command_of(dataset: str, models: tuple[str, ...]) -> str:
    """Return the command that makes the figures again, in a checkout whose data/ has the dataset."""
    chosen = "" if models == MODELS else f" --models {' '.join(models)}"
    return f"python benchmarks/quantization_digits.py data/{pathlib.Path(dataset).name}{chosen}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", help="what make_dataset.py wrote")
    parser.add_argument(
        "--models", nargs="+", default=MODELS, metavar="NAME", help="variants with weights of their own"
    )
    given = parser.parse_args()
    dataset, models = given.dataset, tuple(given.models)
    rows = []
    print(
        f"{'model':14s}{'precision':20s}{'ranges':20s}{'top-1':>8s}{'float32':>9s}{'drop':>7s}{'agreement':>11s}{'SQNR':>9s}"
    )
    for name in models:
        loaded = load_model(name, pretrained=True)
        crops = parity_crops(dataset, 64, loaded.preprocessing())
        source = float32_graph(loaded, GraphOptions(precision=Precision.INT8).spec, crops, log_step)
        for form in FORMS:
            for method in METHODS:
                check, sqnr = measure(source, form, method, dataset)
                rows.append(
                    {
                        "model": name,
                        "precision": form,
                        "method": method,
                        "sqnr_db": sqnr,
                        **rounded(check.model_dump(mode="json")),
                    }
                )
                print(
                    f"{name:14s}{form:20s}{method:20s}{check.top1:8.2%}{check.reference_top1:9.2%}{100 * check.drop:7.2f}"
                    f"{check.agreement:11.2%}{sqnr:6.1f} dB",
                    flush=True,
                )
    content = {
        "command": command_of(dataset, models),
        "calibration_images": IMAGES,
        "machine": machine(),
        "rows": rows,
    }
    write_result(f"quantization_{pathlib.Path(dataset).name}", content)


if __name__ == "__main__":
    main()
