"""Forms compared by the clock: ONNX Runtime on this machine's CPU, taking turns, so that what changes on it meets all.

A form wins over the one that stands where it is surely faster: in nearly all turns, by more than a trifle.
"""

import contextlib
import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Sequence

import onnx

from deepvit.processor import processor_name
from deepvit.runtime.artifact.manifest import BatchRange, ChooseForm, TriedForm, TriedForms
from deepvit.runtime.ort.graph import version
from deepvit.runtime.ort.session import OnnxRuntimeSession
from deepvit.runtime.session.tensors import Images

from ..graph.onnx_file import to_bytes
from .form import Form

TURNS = 15
WON_TURNS = 13  # of 15: a form that is as fast wins as many once in 270 times
LEAST_GAIN = 1.02

Clock = Callable[[], float]


class Timing:
    """Forms that have been timed.

    Args:
        graph_of: Form → its graph, in its types.
        images: A batch of them, as the graph takes them.
        clock: Seconds.
    """

    def __init__(
        self, graph_of: Callable[[Form], onnx.ModelProto], images: Images, clock: Clock = time.perf_counter
    ) -> None:
        self._graph_of, self._images, self._clock = graph_of, images, clock
        self._medians: dict[Form, float] = {}

    def best_of(self, forms: Sequence[Form]) -> Form:
        """Return the form with the least median of those that are surely faster than the first, or the first."""
        seconds = self._timed(forms)
        self._medians.update({form: statistics.median(seconds[form]) for form in forms})
        first, *others = forms
        faster = [form for form in others if is_faster(seconds[form], seconds[first])]
        return min([first, *faster], key=lambda form: self._medians[form])

    def _timed(self, forms: Sequence[Form]) -> dict[Form, list[float]]:
        """Return the seconds of each form in every turn, each turn beginning with another."""
        size = len(self._images)
        seconds: dict[Form, list[float]] = {form: [] for form in forms}
        with contextlib.ExitStack() as stack:
            sessions = []
            for form in forms:
                session = OnnxRuntimeSession(
                    to_bytes(self._graph_of(form)),
                    name="a form of the graph",
                    batch=BatchRange(min=1, opt=size, max=size),
                )
                stack.callback(session.close)
                session.run(self._images)
                sessions.append((form, session))
            for turn in range(TURNS):
                start_at = turn % len(sessions)
                for form, session in [*sessions[start_at:], *sessions[:start_at]]:
                    start = self._clock()
                    session.run(self._images)
                    seconds[form].append(self._clock() - start)
        return seconds

    def record(self, chosen: Form) -> TriedForms:
        """Return what was tried, for the manifest."""
        return TriedForms(
            by=ChooseForm.TIMING,
            tool=f"ONNX Runtime {version()}",
            where=f"{processor_name()}, {os.cpu_count()} cores",
            batch=len(self._images),
            forms=tuple(
                TriedForm(**dataclasses.asdict(form), milliseconds=round(1e3 * median, 3))
                for form, median in self._medians.items()
            ),
            chosen=list(self._medians).index(chosen),
        )


def is_faster(seconds: Sequence[float], standing: Sequence[float]) -> bool:
    """Return whether a form is beyond noise faster than the one that stands, by the seconds of both in every turn."""
    ratios = [old / new for new, old in zip(seconds, standing, strict=True)]
    return sum(ratio > 1 for ratio in ratios) >= WON_TURNS and statistics.median(ratios) >= LEAST_GAIN
