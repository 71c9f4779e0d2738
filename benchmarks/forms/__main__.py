"""Every form of a trained model in every engine: right, wrong without a word, or refused.

Exports digits_cnn in each form, and holds what each engine answers for 64 images against the form as it is declared.
Usage: python -m benchmarks.forms data/digits; writes benchmarks/results/forms.json, and docs/forms.md from it. The C++
runtime is among the engines where `make cpp` has built it.
"""

import argparse
import importlib.metadata
import json
import pathlib
import tempfile
from typing import Any

from benchmarks.common.interleaved import machine, write_result
from benchmarks.forms.cells import BOUNDS, row_of
from benchmarks.forms.engines import ENGINES, Subject
from benchmarks.forms.page import PAGE, page_of
from deepvit.calibration.options import QuantizationOptions
from deepvit.export.graph.proof.logits import torch_logits
from deepvit.export.options import ExportOptions, GraphOptions, Target
from deepvit.export.pipeline import export_artifact
from deepvit.images.samples import crops_of, parity_images
from deepvit.metrics.result import rounded
from deepvit.model.load import load_model
from deepvit.runtime import open_artifact
from deepvit.runtime.artifact import MODEL
from deepvit.runtime.artifact.manifest import InputForm, Precision

VARIANT, IMAGES = "digits_cnn", 64
# What `export` is told → the same as options of the graph and of quantisation.
FORMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "--fp32": ({"precision": Precision.FP32}, {}),
    "--fp16": ({"precision": Precision.FP16}, {}),
    "--fp16 --input uint8": ({"precision": Precision.FP16, "input_form": InputForm.UINT8}, {}),
    "--bf16": ({"precision": Precision.BF16}, {}),
    "--int8": ({"precision": Precision.INT8}, {}),
    "--int8 --target cpu": ({"precision": Precision.INT8, "target": Target.CPU}, {}),
    "--int8 --weight-only": ({"precision": Precision.INT8}, {"weight_only": True}),
    "--fp8": ({"precision": Precision.FP8}, {}),
    "--fp8 --quantize-attention": ({"precision": Precision.FP8}, {"attention": True}),
}


def export_form(form: str, dataset: str | None, folder: pathlib.Path) -> None:
    """Export the trained model as `python cli.py export` does."""
    graph, quantization = FORMS[form]
    options = ExportOptions(
        graph=GraphOptions(**({"target": Target.ONNX} | graph)),
        quantization=QuantizationOptions(**quantization),
        imagenet=dataset,
        output=folder,
    )
    export_artifact(load_model(VARIANT, pretrained=True), options)


def subject_of(folder: pathlib.Path, dataset: str | None) -> Subject:
    """Return an artifact with the images that it is tried on; the bundled photographs where there is no dataset."""
    source = parity_images(dataset, IMAGES)
    manifest = open_artifact(folder).manifest
    return Subject(
        folder=folder,
        manifest=manifest,
        content=(folder / MODEL).read_bytes(),
        images=manifest.input_from(crops_of(source, manifest.preprocess)),
        files=[source.read(index)[0] for index in range(len(source))],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", help="what make_dataset.py wrote")
    dataset = parser.parse_args().dataset
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for form in FORMS:
            folder = pathlib.Path(temporary) / form.replace("--", "").replace(" ", "-")
            export_form(form, dataset, folder)
            subject = subject_of(folder, dataset)
            if not rows:  # FP32: the images as PyTorch takes them
                trained = torch_logits(load_model(VARIANT, pretrained=True).module, subject.images)
            rows[form] = row_of(subject, trained, ENGINES)
            print(form, {name: cell["verdict"] for name, cell in rows[form]["cells"].items()}, flush=True)
    content = {
        "command": "python -m benchmarks.forms data/digits",
        "variant": VARIANT,
        "images": IMAGES,
        "machine": machine(),
        "onnx": importlib.metadata.version("onnx"),
        "bounds_db": {kind.value: bound.sqnr_db for kind, bound in BOUNDS.items()},
        "forms": rounded(rows),
    }
    write_result("forms", content)
    PAGE.write_text(page_of(json.loads(json.dumps(content))))


if __name__ == "__main__":
    main()
