"""A graph in sessions of ONNX Runtime as anyone may open it: on a CPU, told nothing but how far to optimise."""

import concurrent.futures
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from ..artifact.manifest import Level, PlainSessions
from ..session.tensors import Images, padded_batch, sqnr_db
from .graph import ORT_ERRORS, has_level, plain_session, reason, version

AT_ONCE = 2  # sessions, each on one core: most of their time is spent on opening them, which no thread shares


def plain_answers(
    content: bytes, images: Images, levels: Iterable[Level] = tuple(Level)
) -> Iterator[tuple[Level, npt.NDArray[np.float32] | str]]:
    """Yield each level of optimisation that this ONNX Runtime has, and the first output, or why there is none."""
    known = [level for level in levels if has_level(level)]  # LAYOUT is younger than the rest
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        yield from zip(known, pool.map(lambda level: _answer(content, images, level), known), strict=True)


def _answer(content: bytes, images: Images, level: Level) -> npt.NDArray[np.float32] | str:
    try:
        session = plain_session(content, level)
        taken = session.get_inputs()[0]
        fixed = taken.shape[0] if isinstance(taken.shape[0], int) else 1
        answer: npt.NDArray[np.float32] = session.run(None, {taken.name: padded_batch(images, fixed)})[0]
    except ORT_ERRORS as error:
        return reason(error)
    return answer


def probe_plain(
    content: bytes,
    images: Images,
    expected: npt.NDArray[np.floating],
    bound_db: float,
    levels: Iterable[Level] = tuple(Level),
) -> PlainSessions:
    """Hold what plain sessions answer for one image against what they should.

    Args:
        content: The ONNX file's bytes.
        images: The image as the graph takes it.
        expected: Its logits, of the first classes or all.
        bound_db: How close is close enough.
        levels: Which to try.
    """
    found: dict[str, list[Level]] = {"right": [], "wrong": [], "refused": []}
    for level, answer in plain_answers(content, images, levels):
        if isinstance(answer, str):
            found["refused"].append(level)
            continue
        got = answer[0, : len(expected)]
        is_right = got.shape == expected.shape and sqnr_db(got, expected) >= bound_db  # false for NaN
        found["right" if is_right else "wrong"].append(level)
    return PlainSessions(version=version(), **{name: tuple(members) for name, members in found.items()})
