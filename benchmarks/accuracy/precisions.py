"""Every precision: PyTorch, ONNX Runtime and OpenVINO, on all held-out images."""

from collections.abc import Iterable
from typing import Any

from deepvit.export.graph.onnx_file import count_gemms, to_bytes
from deepvit.runtime.errors import InputError
from deepvit.runtime.openvino.library import is_installed
from deepvit.runtime.openvino.session import OpenVinoSession
from deepvit.runtime.ort.arithmetic import Arithmetic

from .forms import FORMS, Form, Graphs
from .subject import Subject, logits_of, onnxruntime_logits, say, scored

ONNXRUNTIME, OPENVINO = "ONNX Runtime", "OpenVINO"


def measure_precisions(subject: Subject, graphs: Graphs, names: Iterable[str] = FORMS) -> dict[str, Any]:
    """Return a row for each of the forms: the engines' scores, or in words why there are none."""
    forms = {name: row_of(subject, graphs, name, FORMS[name]) for name in names}
    return {"calibration_images": len(_calibrated(graphs)), "forms": forms}


def _calibrated(graphs: Graphs) -> Any:
    images = graphs.inputs(FORMS["INT8"].quantization).images
    assert images is not None
    return images.source


def row_of(subject: Subject, graphs: Graphs, name: str, form: Form) -> dict[str, Any]:
    """Run one form.

    In ONNX Runtime every tensor is rounded to the type that the graph gives it, as a GPU that stores it would.
    """
    model = graphs.typed(form)
    say(f"{name} in {ONNXRUNTIME}")
    logits, description = onnxruntime_logits(model, subject.images, Arithmetic.AS_DECLARED)
    found = {
        "runs_on": description,
        "quantized_gemms": count_gemms(model).quantized_gemms,
        ONNXRUNTIME: scored(subject, logits),
    }
    if form.openvino and is_installed():
        say(f"{name} in {OPENVINO}")
        found[OPENVINO] = _in_openvino(subject, name, to_bytes(model))
    cost = found[ONNXRUNTIME]
    say(f"  top-1 {cost['top1']:.2%}, drop {100 * cost['drop_fraction']:+.2f}, McNemar's p {cost['mcnemar_p']:.2g}")
    return found


def _in_openvino(subject: Subject, name: str, content: bytes) -> dict[str, Any]:
    try:
        return scored(subject, logits_of(OpenVinoSession(content, name=name), subject.images))
    except InputError as error:
        return {"refused": str(error).split(": ", 1)[-1][:160]}
