"""How far a build is, from the nested phases that TensorRT reports."""

import dataclasses
import threading

from deepvit.progress import Share


@dataclasses.dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0
    inside: float = 0.0  # of the step under way, how much its inner phases have done

    @property
    def share(self) -> float:
        return min((self.done + self.inside) / self.steps, 1.0)


def _nobody(phase: str, share: float) -> None:
    pass


class BuildProgress:
    """The share of a build that is done, in [0, 1]: phases hold steps, within a step may run phases of its own.

    It never goes back: a phase may start inner phases one after the other within one step, of which the first already
    counted that step as done. TensorRT calls it from several threads, and takes an exception for the wish to give the
    build up: a phase that it did not announce is passed over.

    Args:
        report: Called with the phase and the share whenever something began or was done, by one thread at a time.
    """

    def __init__(self, report: Share = _nobody) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._phases: dict[str, _Phase] = {}
        self.share = 0.0
        self.phase = ""

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase of so many steps begins, within the running step of `parent`."""
        with self._lock:
            self._phases[name] = _Phase(parent, max(steps, 1))
            self.phase = name
            self._report(self.phase, self.share)

    def step(self, name: str, step: int) -> None:
        """Step `step`, from 0, of phase `name` is done."""
        with self._lock:
            phase = self._phases.get(name)
            if phase is None:
                return
            phase.done, phase.inside = min(step + 1, phase.steps), 0.0
            self._carry_up(phase)
            self._report(self.phase, self.share)

    def finish(self, name: str) -> None:
        """Phase `name` is done, or was given up."""
        with self._lock:
            phase = self._phases.pop(name, None)
            if phase is None:
                return
            phase.done, phase.inside = phase.steps, 0.0
            self._carry_up(phase)
            self.phase = phase.parent or name
            self._report(self.phase, self.share)

    def _carry_up(self, phase: _Phase) -> None:
        """Carry the share of `phase` up to the phase that holds all; a phase that holds itself ends it."""
        seen = [phase]
        while phase.parent in self._phases:
            outer = self._phases[phase.parent]
            if any(outer is other for other in seen):
                return
            outer.inside = phase.share
            seen.append(outer)
            phase = outer
        if phase.parent is None:
            self.share = max(self.share, phase.share)
