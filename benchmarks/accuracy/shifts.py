"""What shifts give, model by model and form by form: SQNR and top-1 agreement with float32, without them and with them.

Usage: python -m benchmarks.accuracy.shifts [MODEL …]; trained models run on 300 held-out images of data/glyphs or
data/digits, those of random weights on the bundled photographs, mirrored. Writes benchmarks/results/accuracy-shifts.json,
in which other models than those that are named stay as they are.
"""

import argparse
import json
from typing import Any

from benchmarks.common.command_line import RESULTS, ROOT
from benchmarks.common.interleaved import machine, write_result
from deepvit.calibration.observe.equalization import Equalization
from deepvit.calibration.options import QuantizationOptions
from deepvit.export.graph.proof.logits import graph_logits
from deepvit.export.options import GraphOptions, Target
from deepvit.images.imagenet import open_images
from deepvit.images.samples import bundled_samples, crops_of
from deepvit.images.sources import spread
from deepvit.metrics.distance import sqnr_of
from deepvit.metrics.result import rounded
from deepvit.model.load import load_model
from deepvit.runtime.artifact.manifest import Precision
from deepvit.runtime.ort.arithmetic import Arithmetic
from deepvit.runtime.preprocess import model_input

from .forms import Form, Graphs
from .subject import decoded_here, onnxruntime_logits, say

NAME = "accuracy-shifts"
DATASETS = {"glyphs_deepvit": "glyphs", "glyphs_vit": "glyphs", "digits_patch": "digits", "digits_cnn": "digits"}
RANDOM = ("deepvit_s", "deepvit_32", "vit_16")
IMAGES = 300
FORMS = {
    "INT8": GraphOptions(precision=Precision.INT8, target=Target.ONNX),
    "INT8, for TensorRT": GraphOptions(precision=Precision.INT8, target=Target.TENSORRT),
    "INT8, for CPUs": GraphOptions(precision=Precision.INT8, target=Target.CPU),
    "FP8, for TensorRT": GraphOptions(precision=Precision.FP8, target=Target.TENSORRT),
    "FP8 with attention": GraphOptions(precision=Precision.FP8, target=Target.ONNX),
}
SETTINGS = {"not shifted": Equalization.RESCALE, "shifted": Equalization.SHIFT}


def rows_of(name: str) -> dict[str, Any]:
    """Return a row for each form and setting of a model."""
    is_trained = name in DATASETS
    dataset = str(ROOT / "data" / DATASETS[name]) if is_trained else None
    loaded = load_model(name, pretrained=is_trained)
    source = spread(open_images(dataset, "val"), IMAGES) if dataset else bundled_samples()
    crops = crops_of(source, loaded.preprocessing())
    images = model_input(crops if is_trained else crops[:, :, ::-1], loaded.preprocessing(), loaded.module.in_chans)
    graphs = Graphs(loaded, dataset)
    rows: dict[str, Any] = {}
    for form, graph in FORMS.items():
        exact = graph_logits(graphs.float32(graph).model, images, "float32")
        for setting, equalization in SETTINGS.items():
            quantization = QuantizationOptions(equalization=equalization, attention=form == "FP8 with attention")
            written = Form(graph=graph, quantization=quantization)
            typed = graphs.typed(written)
            logits, _ = onnxruntime_logits(typed, images, Arithmetic.AS_DECLARED)
            row = {
                "sqnr_db": sqnr_of(logits, exact),
                "same_top1": int((logits.argmax(1) == exact.argmax(1)).sum()),
                "proved_max_abs": max(stage.max_abs for stage in graphs.calibrated(written).stages),
                "subtractions": sum(node.op_type == "Sub" for node in typed.graph.node),
            }
            rows.setdefault(form, {})[setting] = row
            say(f"{name} {form} {setting}: {row}")
    return {"weights": loaded.weights.source, "images": len(images), "forms": rounded(rows)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="all if none is given")
    path = RESULTS / f"{NAME}.json"
    models = json.loads(path.read_text())["models"] if path.is_file() else {}
    with decoded_here():
        for name in parser.parse_args().models or (*DATASETS, *RANDOM):
            models[name] = rows_of(name)
            write_result(
                NAME, {"command": "python -m benchmarks.accuracy.shifts", "machine": machine(), "models": models}
            )


if __name__ == "__main__":
    main()
