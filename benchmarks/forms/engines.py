"""What a form is tried in: its own answer, and every engine's."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from benchmarks.common.c_runtime import LIBRARY, CModel
from deepvit.runtime import Arithmetic, Manifest, open_session
from deepvit.runtime.artifact.manifest import Level, Precision
from deepvit.runtime.openvino.library import is_installed
from deepvit.runtime.openvino.session import OpenVinoSession
from deepvit.runtime.ort.plain import plain_answers
from deepvit.runtime.session.tensors import Images, Logits

Array = npt.NDArray[Any]
# What engines raise on graphs that they do not take; they have no base in common but Exception.
REFUSALS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)


class NotRunError(Exception):
    """An engine that is not here."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """One form, and the images: as files, and as its graph takes them."""

    folder: pathlib.Path
    manifest: Manifest
    content: bytes
    images: Images
    files: list[bytes]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Engine:
    """A column: `run` gives logits (N, classes), or raises one of REFUSALS.

    `arithmetic` is what it computes in whatever the graph says; None: as the graph says, or finer.
    """

    run: Callable[[Subject], Logits]
    arithmetic: Precision | None = None


def declared(subject: Subject) -> Logits:
    """Return the form's own answer: in our session, every tensor rounded to the type that the graph gives it."""
    with contextlib.closing(open_session(subject.folder, arithmetic=Arithmetic.AS_DECLARED)) as session:
        return session.run(subject.images)


def _plain(level: Level) -> Engine:
    def run(subject: Subject) -> Logits:
        for _, answer in plain_answers(subject.content, subject.images, [level]):
            if isinstance(answer, str):
                raise RuntimeError(answer)  # noqa: TRY004 - it is what ONNX Runtime said
            return answer
        raise NotRunError(f"this ONNX Runtime has no level {level.value}")

    return Engine(run=run)


def _ours(subject: Subject) -> Logits:
    with contextlib.closing(open_session(subject.folder, "cpu")) as session:
        return session.run(subject.images)


def _openvino(arithmetic: Precision) -> Callable[[Subject], Logits]:
    def run(subject: Subject) -> Logits:
        if not is_installed():
            raise NotRunError("it is not installed")
        with contextlib.closing(
            OpenVinoSession(subject.content, name=str(subject.folder), arithmetic=arithmetic)
        ) as session:
            return session.run(subject.images)

    return run


class LayerNormalization(OpRun):
    """The reference's own in float32, which `stash_type` asks for: up to onnx 1.23 FP16 overflows in its squares."""

    op_domain = ""

    def _run(
        self, x: Array, scale: Array, bias: Array, axis: int | None = None, epsilon: float = 1e-5, **_: object
    ) -> tuple[Array]:
        assert axis == -1, axis
        wide = x.astype(np.float32)
        centred = wide - wide.mean(-1, keepdims=True)
        normal = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
        return (normal.astype(x.dtype) * scale + bias,)


def _reference(*mended: type[OpRun]) -> Callable[[Subject], Logits]:
    def run(subject: Subject) -> Logits:
        evaluator = ReferenceEvaluator(onnx.load_from_string(subject.content), new_ops=[*mended])
        with np.errstate(over="ignore"):  # it shows in the logits
            answer = evaluator.run(None, {subject.manifest.input.name: subject.images})[0]
        return np.asarray(answer, np.float32)

    return run


def _cpp(subject: Subject) -> Logits:
    if not LIBRARY.is_file():
        raise NotRunError("make cpp has not built it")
    (library,) = pathlib.Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.1*")
    with contextlib.closing(CModel(subject.folder, library, subject.manifest.classes)) as model:
        return np.stack([model.classify(encoded) for encoded in subject.files])


ENGINES = {
    **{f"ONNX Runtime, plain, {level.name}": _plain(level) for level in Level},
    "ONNX Runtime, our session": Engine(run=_ours),
    "our C++ runtime": Engine(run=_cpp),
    "OpenVINO, f32": Engine(run=_openvino(Precision.FP32)),
    # BF16 where the processor has it, which is its default, and its answer no worse than that elsewhere.
    "OpenVINO, BF16": Engine(run=_openvino(Precision.BF16), arithmetic=Precision.BF16),
    "onnx.reference": Engine(run=_reference()),
    "onnx.reference, mended": Engine(run=_reference(LayerNormalization)),
}
