"""Figures 5, 23 to 25 for the C++ runtime: damaged images, failing allocations, odd calls of the C ABI."""

import ctypes
import functools
import pathlib
import random
import shutil

import numpy as np
import onnxruntime

from benchmarks.common.c_runtime import LIBRARY, CModel, Encoded

from ..figure import Case, Figure
from ..mutants import damaged
from ..preload import allow_allocations
from ..trial import Result, run_forked, run_in_turn
from .controls import crashes
from .images import bombs, encoded
from .material import tiny_artifacts

size_t = ctypes.c_size_t
CLASSES = 5
ODD_CALLS = 100
OK, OUT_OF_MEMORY = 0, 7
STATUSES = frozenset({0, 1, 2, 3, 4, 5, 6, 7})  # all but DEEPVIT_INTERNAL
IMAGES_AT_ONCE = 20
ALLOCATIONS = 500
MAX_BYTES = 300_000_000


def onnxruntime_library() -> pathlib.Path:
    return next((pathlib.Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.1*"))


def _open(artifact: pathlib.Path) -> CModel:
    return CModel(artifact, onnxruntime_library(), CLASSES)


def _classify(artifact: pathlib.Path, images: list[bytes]) -> None:
    """Classify one by one, then together with a good image, whose logits must be those that it has alone."""
    model = _open(artifact)
    good = encoded("PNG", 1)
    alone = model.classify(good)
    statuses = [status for status, _ in map(model.try_classify, images)]
    together = model.classify_all([*images, good])
    assert set(statuses) <= STATUSES, statuses
    assert [status for status, _ in together] == [*statuses, OK], (together, statuses)
    assert np.array_equal(together[-1][1], alone)
    model.close()


def damaged_images(case: Case) -> Result:
    """Twenty damaged JPEGs and PNGs: each its own status, none a neighbour's."""
    forms = ("JPEG", "PNG")
    images = [
        damaged(encoded(forms[n % 2], case.index * IMAGES_AT_ONCE + n), case.random) for n in range(IMAGES_AT_ONCE)
    ]
    for number, content in enumerate(images):
        (case.folder / f"image-{number}").write_bytes(content)
    function = functools.partial(_classify, case.material / "fp32", images)
    ended = run_in_turn(function, case.folder / "log")
    return Result(ended.label, ended.fault(frozenset({0})))


def bomb(case: Case) -> Result:
    """An image of huge size: a status, at most 300 MB, and a good neighbour is answered."""
    path = sorted(path for path in case.material.iterdir() if path.is_file())[case.index % 14]
    function = functools.partial(_classify, case.material / "fp32", [path.read_bytes()])
    ended = run_forked(function, case.folder / "log", more_bytes=MAX_BYTES)
    return Result(ended.label, ended.fault(frozenset({0})) and f"{path.name}: {ended.fault(frozenset({0}))}")


def prepare_bombs(material: pathlib.Path) -> None:
    bombs(material)
    tiny_artifacts(material)


def _short_of_memory(artifact: pathlib.Path, image: bytes, allocations: int) -> None:
    """Open, classify and close, the so-many-th allocation failing; then again, with memory."""
    ctypes.CDLL(str(LIBRARY))
    allow_allocations(allocations)
    try:
        model = _open(artifact)
        model.try_classify(image)
        model.close()
    except RuntimeError as error:
        refusal = str(error)
        assert "status 7" in refusal or "memory" in refusal.lower() or "bad_alloc" in refusal, refusal
    finally:
        allow_allocations(-1)
    model = _open(artifact)
    assert model.try_classify(image)[0] == OK
    model.close()


def failing_allocation(case: Case) -> Result:
    ended = run_forked(
        functools.partial(_short_of_memory, case.material / "fp32", encoded("PNG", 1), case.index), case.folder / "log"
    )
    return Result(ended.label, ended.fault(frozenset({0})))


def _odd_call(model: CModel, source: random.Random, image: bytes) -> int:
    """Call one function of the C ABI; each argument may be null, too small or too large. Return the status."""
    library, handle = model.library, source.choice((model.handle, None))
    pixels, logits = (ctypes.c_uint8 * (32 * 32 * 3))(), (ctypes.c_float * (4 * CLASSES))()
    data, target = source.choice((image, None)), source.choice((pixels, None))
    size = size_t(source.choice((0, 1, len(image), len(image) // 2)) if data else 0)
    count = size_t(source.choice((0, 1)))
    match source.randrange(6):
        case 0:
            capacity = size_t(source.choice((0, 1, len(pixels))) if target else 1 << 62)
            return library.deepvit_crop_encoded(handle, data, size, target, capacity)
        case 1:
            return library.deepvit_input_from_crops(handle, target, size_t(1 if target else 0), None, size_t(0))
        case 2:
            return library.deepvit_run(handle, None, count, logits, size_t(len(logits)))
        case 3:
            return library.deepvit_get_info(handle, None)
        case 4:
            return library.deepvit_open(source.choice((None, b"", b"/nowhere", b"\xff" * 5000)), None, None)
        case _:
            output = source.choice((logits, None))
            capacity = size_t(source.choice((0, len(logits))))
            one = ctypes.byref(Encoded(data, size))
            return library.deepvit_classify_encoded(handle, one, count, output, capacity, None)


def _odd_calls(artifact: pathlib.Path, source: random.Random) -> None:
    """Make a hundred calls, of which most are refused, each with a status and a line of text; then a good one."""
    model, image = _open(artifact), encoded("PNG", 1)
    for _ in range(ODD_CALLS):
        status = _odd_call(model, source, image)
        assert status in STATUSES, status
        assert (model.library.deepvit_last_error() == b"") == (status == OK)
    assert model.try_classify(image)[0] == OK
    model.close()


def odd_calls(case: Case) -> Result:
    ended = run_in_turn(functools.partial(_odd_calls, case.material / "fp32", case.random), case.folder / "log")
    return Result(ended.label, ended.fault(frozenset({0})))


def another_status_is_seen(case: Case) -> Result:
    """A control: a good image that is said to be a bad one is told."""
    ended = run_forked(functools.partial(_wrong_status, case.material / "fp32"), case.folder / "log")
    return Result(ended.label, ended.fault(frozenset({0})))


def _wrong_status(artifact: pathlib.Path) -> None:
    model = _open(artifact)
    assert model.try_classify(encoded("PNG", 1)[:60])[0] == OK


def damaged_manifest(case: Case) -> Result:
    """A damaged manifest is refused, or is one that is sound; never an internal error."""
    artifact = case.folder / "artifact"
    shutil.copytree(case.material / "fp32", artifact)
    path = artifact / "manifest.json"
    path.write_bytes(damaged(path.read_bytes(), case.random))
    ended = run_in_turn(functools.partial(_open_only, artifact), case.folder / "log")
    return Result(ended.label, ended.fault(frozenset({0})))


def _open_only(artifact: pathlib.Path) -> None:
    try:
        _open(artifact).close()
    except RuntimeError as error:
        if not any(str(error).startswith(f"status {status}:") for status in STATUSES - {OK}):
            raise AssertionError(str(error)) from error


CONTROLS = (another_status_is_seen, crashes)
FIGURES = (
    Figure(
        number="4 C++",
        name="damaged manifests, in C++",
        count=2_000,
        trial=damaged_manifest,
        controls=CONTROLS,
        prepare=tiny_artifacts,
    ),
    Figure(
        number="5 C++",
        name=f"damaged images in C++, {IMAGES_AT_ONCE} a trial beside a good one",
        count=10_000 // IMAGES_AT_ONCE,
        trial=damaged_images,
        controls=CONTROLS,
        prepare=tiny_artifacts,
    ),
    Figure(
        number="5 C++ bombs",
        name="images of huge size, in C++",
        count=14,
        trial=bomb,
        controls=CONTROLS,
        prepare=prepare_bombs,
    ),
    Figure(
        number="24",
        name="the n-th allocation fails, in C++",
        count=ALLOCATIONS,
        trial=failing_allocation,
        controls=CONTROLS,
        prepare=tiny_artifacts,
    ),
    Figure(
        number="25",
        name="a hundred odd calls of the C ABI",
        count=500,
        trial=odd_calls,
        controls=CONTROLS,
        prepare=tiny_artifacts,
    ),
)
