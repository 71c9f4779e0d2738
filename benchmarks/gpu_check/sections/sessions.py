"""Our sessions of PyTorch and of ONNX Runtime's CUDA provider: the CPU's answers, TF32 off, images a second."""

import contextlib
import statistics
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np

from deepvit.metrics.bounds import FLOAT32_BOUND, PRECISION_BOUNDS
from deepvit.metrics.distance import sqnr_of
from deepvit.runtime.artifact.manifest import Precision
from deepvit.runtime.session import Session
from deepvit.runtime.session.tensors import Images, Logits

from ..findings import Findings, SkippedError, require_modules
from ..places import Place
from .numerics import switched

if TYPE_CHECKING:
    from deepvit.model.load import LoadedModel

BATCHES = (1, 32)
SECONDS = 1.0  # of a timing
DTYPES: tuple[Literal["float32", "float16"], ...] = ("float32", "float16")
BOUNDS = {
    "float32": (FLOAT32_BOUND, "FLOAT32_BOUND"),
    "float16": (PRECISION_BOUNDS[Precision.FP16], "PRECISION_BOUNDS[FP16]"),
}


def run(findings: Findings, place: Place) -> None:
    require_modules("torch", "timm")
    from deepvit.model.load import load_model

    variant = place.variants[0]
    loaded = load_model(variant)
    size = loaded.module.img_size
    images = np.random.default_rng(0).normal(size=(8, loaded.module.in_chans, size, size)).astype(np.float32)
    with contextlib.closing(_torch_session(loaded, "cpu", "float32")) as session:
        expected = session.run(images)
    for dtype in DTYPES:
        if findings.has_time(f"PyTorch, {dtype}", 10):
            _torch(findings, place, loaded, dtype, images, expected)
    if not findings.has_time("ONNX Runtime", 40):
        return
    try:
        _onnxruntime(findings, place, loaded, images)
    except SkippedError as error:
        findings.skip("ONNX Runtime", str(error))


def _torch_session(loaded: "LoadedModel", device: str, dtype: Literal["float32", "float16"]) -> Session:
    import copy

    from deepvit.measure.torch_session import TorchSession

    module = loaded.module
    shape = (module.in_chans, module.img_size, module.img_size)
    return TorchSession(copy.deepcopy(module), shape, device, dtype=dtype)


def _torch(
    findings: Findings,
    place: Place,
    loaded: "LoadedModel",
    dtype: Literal["float32", "float16"],
    images: Images,
    expected: Logits,
) -> None:
    name = f"{loaded.variant.name}, random weights, PyTorch session, {dtype}"
    with contextlib.closing(_torch_session(loaded, place.device, dtype)) as session:
        findings.logits(f"{name}, against the CPU", session.run(images), expected, *BOUNDS[dtype])
        if dtype == "float32":
            with switched(tf32=True):
                _with_tf32(findings, name, session.run(images), expected)
        _speed(findings, place, name, session, images)


def _onnxruntime(findings: Findings, place: Place, loaded: "LoadedModel", images: Images) -> None:
    require_modules("onnxruntime", "onnx_ir", "onnxscript")
    from deepvit.runtime.ort.graph import providers
    from deepvit.runtime.ort.session import OnnxRuntimeSession

    if place.provider not in providers():
        raise SkippedError(f"its providers here are {', '.join(sorted(providers()))}, not {place.provider}")
    for precision, content in _graphs(loaded):
        name = f"{loaded.variant.name}, random weights, ONNX Runtime session, {precision}"
        with contextlib.closing(OnnxRuntimeSession(content, name=name, provider="cpu")) as session:
            expected = session.run(images)
        with contextlib.closing(OnnxRuntimeSession(content, name=name, provider=place.provider)) as session:
            got = session.run(images)
            findings.note(name, session.description)
            findings.logits(f"{name}, against the CPU", got, expected, *BOUNDS[precision])
            _speed(findings, place, name, session, images)
        if precision == "float32" and not place.is_fake:
            with (
                _tf32_on(),
                contextlib.closing(OnnxRuntimeSession(content, name=name, provider=place.provider)) as session,
            ):
                _with_tf32(findings, name, session.run(images), expected)


def _with_tf32(findings: Findings, name: str, got: Logits, expected: Logits) -> None:
    """What our sessions are spared: that it is less than the check's bound shows that the check would see it."""
    findings.figure(f"{name}, with TF32, SQNR against the CPU", sqnr_of(got, expected), "dB")


def _graphs(loaded: "LoadedModel") -> Iterator[tuple[str, bytes]]:
    import onnx

    from deepvit.export.graph.cast import cast_graph
    from deepvit.export.graph.float32 import float32_onnx
    from deepvit.export.graph.onnx_file import to_bytes
    from deepvit.export.options import GraphOptions
    from deepvit.images.samples import parity_crops

    content = float32_onnx(loaded, GraphOptions().spec, parity_crops(None, 1, loaded.preprocessing()))
    yield "float32", content
    yield "float16", to_bytes(cast_graph(onnx.load_from_string(content), Precision.FP16))


@contextlib.contextmanager
def _tf32_on() -> Iterator[None]:
    """Undo what our sessions ask of the provider, to see what that is good for."""
    from deepvit.runtime.ort.providers import CUDA_OPTIONS

    before = dict(CUDA_OPTIONS)
    CUDA_OPTIONS["use_tf32"] = "1"
    try:
        yield
    finally:
        CUDA_OPTIONS.update(before)


def _speed(findings: Findings, place: Place, name: str, session: Session, images: Images) -> None:
    for batch in BATCHES:
        findings.figure(
            f"{name}, batch {batch}", images_per_second(place, session, images, batch), "images/s, copies included"
        )


def images_per_second(place: Place, session: Session, images: Images, batch: int) -> float | None:
    """Return the median speed of runs in SECONDS; None on fakes, where it is run once."""
    some = np.resize(images, (batch, *images.shape[1:]))
    session.run(some)
    if place.is_fake:
        return None
    seconds: list[float] = []
    for _ in range(3):
        session.run(some)
    while sum(seconds) < SECONDS or len(seconds) < 3:
        start = time.perf_counter()
        session.run(some)
        seconds.append(time.perf_counter() - start)
    return batch / statistics.median(seconds)
