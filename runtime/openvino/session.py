"""An ONNX graph in OpenVINO on the CPU. Safe to call from several threads at once.

OpenVINO computes in BF16 by default where the processor has it, also what a file declares as FP32: about 50 dB on
trained models. So the arithmetic is always said: BF16 for graphs of BF16, FP32 for all others, FP16 ones too, of which
it says itself what it does. Integers are multiplied as the graph's Q/DQ nodes say. Beside weights alone in eight bits
it would round activations to eight bits too, in groups of 32, which no graph declares; it costs deepvit_s 1.4 dB.

A compiled model can be kept on disk, but deepvit_32's takes 185 MB there and saves 0.45 of 1.1 s (two cores of AMD
EPYC, OpenVINO 2026.4.1), and what is read back is executed: it is compiled each time.
"""

import io
import time
from typing import TYPE_CHECKING, Literal

from onnx.inliner import inline_local_functions

from ..artifact.manifest import ANY_BATCH, BatchRange, Identity, Precision, Tensor, names_or_numbers
from ..artifact.self_contained import require_self_contained
from ..errors import InputError, MissingError
from ..ort.demands import Form, contents_of
from ..ort.rounding import load_model
from ..session.tensors import Images, Logits, check_images, padded_batch, split_batches
from .library import ARITHMETIC, CPU, load_openvino, version
from .requests import Requests, reason_of
from .run import OpenVinoRun

if TYPE_CHECKING:
    import openvino

DTYPES: dict[str, Literal["float32", "uint8"]] = {"f32": "float32", "u8": "uint8"}  # by OpenVINO's names
ACTIVATION_GROUPS = "DYNAMIC_QUANTIZATION_GROUP_SIZE"  # of activations that share a scale; 0: they are not rounded
AHEAD = 1  # while streams compute, the images of a next run are copied and the logits of the last are read


class OpenVinoSession:
    """An ONNX graph with one input of images and float32 logits as its first output.

    Args:
        content: The ONNX file's bytes.
        name: What errors call it.
        arithmetic: What floats are computed in, FP32 or BF16; as the graph declares where None.
        threads: Threads of all runs together; as many as there are cores where None.
        streams: Runs that are computed at the same time, each by its share of the threads.
        batch: Batch sizes to accept in one run; larger batches are split.
        identity: What the graph is, where somebody says.

    Raises:
        InputError: Not such a graph, or not one that OpenVINO can load.
        MissingError: OpenVINO is not installed, or does not compute in FP32 where that is asked for.
    """

    is_emulated = False

    def __init__(
        self,
        content: bytes,
        *,
        name: str,
        arithmetic: Precision | None = None,
        threads: int | None = None,
        streams: int = 1,
        batch: BatchRange = ANY_BATCH,
        identity: Identity | None = None,
    ) -> None:
        self.name, self.batch, self.identity = name, batch, identity
        require_self_contained(content, name)
        content = _without_functions(content)
        asked = arithmetic or _declared_arithmetic(content, identity)
        settings: dict[str, object] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": str(streams),
            "INFERENCE_PRECISION_HINT": ARITHMETIC[asked],
            ACTIVATION_GROUPS: 0,
        }
        if threads is not None:  # processes that share the cores: each would pin its threads to the first of them
            settings |= {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
        core = load_openvino()
        try:
            self._compiled = core.compile_model(core.read_model(io.BytesIO(content)), CPU, settings)
            computed = self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
            groups = int(self._compiled.get_property(ACTIVATION_GROUPS))
        except RuntimeError as error:
            why = reason_of(error)
            raise InputError(f"{name} ({len(content)} bytes) is not a model that OpenVINO can load: {why}") from error
        self.arithmetic = next(each for each, hint in ARITHMETIC.items() if hint == computed)
        if asked is Precision.FP32 and self.arithmetic is not asked:
            raise MissingError(f"OpenVINO {version()} computes {name} in {computed} here, where f32 was asked for")
        if groups != 0:
            raise MissingError(f"OpenVINO {version()} rounds activations of {name} to eight bits, though told not to")
        self.input, self.classes = _input_of(self._compiled, name), _classes_of(self._compiled, name)
        self.at_once = streams + AHEAD  # see `runtime.session.Overlapping`
        self._requests = Requests(self._compiled, self.at_once, name=name, classes=self.classes)

    @property
    def description(self) -> str:
        return f"OpenVINO {version()} CPU in {self.arithmetic.value.upper()}"

    @property
    def class_names(self) -> tuple[str, ...]:
        return names_or_numbers(self.identity, self.classes)

    def run(self, images: Images) -> Logits:
        """See `runtime.session.Session.run`."""
        return self.submit(images).result()

    def submit(self, images: Images) -> OpenVinoRun:
        """See `runtime.session.Overlapping.submit`."""
        check_images(images, self.input)
        begun = time.perf_counter()
        fixed = self.input.shape[0]
        least, most = (fixed, fixed) if isinstance(fixed, int) else (self.batch.min, self.batch.max)
        batches = [self._requests.begin(padded_batch(part, least)) for part in split_batches(images, most)]
        return OpenVinoRun(self._requests, batches, len(images), begun)

    def close(self) -> None:
        """Free the model, when what was begun has ended."""
        self._requests.close()
        del self._compiled


def _declared_arithmetic(content: bytes, identity: Identity | None) -> Precision:
    """Return BF16 for what is said to be of it, or where nobody says, has constants or casts of it; else FP32."""
    if identity is not None:
        return Precision.BF16 if identity.precision is Precision.BF16 else Precision.FP32
    return Precision.BF16 if contents_of(content).form is Form.BFLOAT16 else Precision.FP32


def _without_functions(content: bytes) -> bytes:
    """Return a graph whose operators have bodies in the file, which OpenVINO does not read, with these in their place.

    What is no ONNX model is returned as it is.
    """
    try:
        model = load_model(content)
    except InputError:
        return content
    return inline_local_functions(model).SerializeToString() if model.functions else content


def _input_of(compiled: "openvino.CompiledModel", name: str) -> Tensor:
    signature = ", ".join(f"{each.any_name} {_signature(each)}" for each in compiled.inputs)
    images = compiled.inputs[0] if len(compiled.inputs) == 1 else None
    kind = None if images is None else DTYPES.get(images.element_type.get_type_name())
    if images is None or kind is None or images.partial_shape.rank.to_string() != "4":
        raise InputError(f"{name} takes {signature}; expected one input of 4-D float32 or uint8 images")
    batch, *sides = images.partial_shape
    if any(side.is_dynamic for side in sides):
        raise InputError(f"{name} takes {signature}; expected images of one size")
    shape = ("batch" if batch.is_dynamic else batch.get_length(), *(side.get_length() for side in sides))
    return Tensor(name=images.any_name, shape=shape, dtype=kind)


def _classes_of(compiled: "openvino.CompiledModel", name: str) -> int:
    logits = compiled.outputs[0]
    shape = logits.partial_shape
    if logits.element_type.get_type_name() != "f32" or shape.rank.to_string() != "2" or shape[1].is_dynamic:
        raise InputError(f"{name} gives {_signature(logits)}; expected float32 logits (B, classes)")
    return int(shape[1].get_length())


def _signature(port: "openvino.ConstOutput") -> str:
    return f"{port.element_type.get_type_name()} {port.partial_shape.to_string()}"
