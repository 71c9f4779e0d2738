"""Sessions of OpenVINO on the CPU; the only file that loads it."""

import io
import sys

import numpy as np

from deepvit.runtime.errors import needed_for
from deepvit.runtime.manifest import ANY_BATCH, Identity, Precision, Tensor, names_or_numbers
from deepvit.runtime.tensors import Images, Logits, check_images, check_logits

# When it is imported OpenVINO tells its maker so, under a number that it keeps in ~/intel, unless a file there refuses.
# Where its messenger cannot be imported it tells nothing and writes nothing: so here, in this process.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
ARITHMETIC = {Precision.FP32: "f32", Precision.FP16: "f16", Precision.BF16: "bf16"}


class OpenVinoSession:
    """An ONNX file in OpenVINO: images as the graph takes them → its first output, logits (B, classes) float32.

    Args:
        content: The ONNX file's bytes.
        threads: Threads of one run; as OpenVINO sees fit where None.
        arithmetic: What floats are computed in; where None as OpenVINO sees fit: BF16 where the processor has it.

    Raises:
        MissingError: OpenVINO is not installed.
        RuntimeError: It refuses the graph.
    """

    def __init__(self, content: bytes, threads: int | None = None, arithmetic: Precision | None = None) -> None:
        with needed_for("OpenVINO as a peer"):
            import openvino
        core = openvino.Core()
        settings: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        if arithmetic is not None:
            settings["INFERENCE_PRECISION_HINT"] = ARITHMETIC[arithmetic]
        self._compiled = core.compile_model(core.read_model(io.BytesIO(content)), "CPU", settings)
        images = self._compiled.inputs[0]
        sides = tuple(int(images.partial_shape[axis].get_length()) for axis in (1, 2, 3))
        is_uint8 = images.element_type == openvino.Type.u8
        self.input = Tensor(name="images", shape=("batch", *sides), dtype="uint8" if is_uint8 else "float32")
        self.batch = ANY_BATCH
        self.is_emulated = False
        self.classes = int(self._compiled.outputs[0].partial_shape[1].get_length())
        self.identity: Identity | None = None
        self.class_names = names_or_numbers(None, self.classes)
        self.description = f"OpenVINO {openvino.__version__.partition('-')[0]} CPU"

    def run(self, images: Images) -> Logits:
        """See `runtime.session.Session.run`."""
        check_images(images, self.input)
        return check_logits(np.asarray(self._compiled(images)[0], np.float32), self.description)

    def close(self) -> None:
        """Free the model."""
        del self._compiled
