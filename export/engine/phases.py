"""How far a build is, from the nested phases that TensorRT reports."""

import dataclasses


@dataclasses.dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0
    inside: float = 0.0  # of the step under way, how much its inner phases have done


class BuildProgress:
    """The share of a build that is done, in [0, 1]: phases hold steps, within a step may run phases of its own.

    It never goes back: a phase may start inner phases one after the other within one step, of which the first already
    counted that step as done.
    """

    def __init__(self) -> None:
        self._phases: dict[str, _Phase] = {}
        self.share = 0.0
        self.phase = ""

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase of so many steps begins, within the running step of `parent`."""
        self._phases[name] = _Phase(parent, max(steps, 1))
        self.phase = name

    def step(self, name: str, step: int) -> None:
        """Step `step`, from 0, of phase `name` is done."""
        phase = self._phases[name]
        phase.done, phase.inside = min(step + 1, phase.steps), 0.0
        self._update(name)

    def finish(self, name: str) -> None:
        """Phase `name` is done, or was given up."""
        phase = self._phases.get(name)
        if phase is None:
            return
        phase.done, phase.inside = phase.steps, 0.0
        self._update(name)
        del self._phases[name]
        self.phase = phase.parent or name

    def _update(self, name: str) -> None:
        """Carry the share of `name` up to the phase that holds all."""
        phase = self._phases[name]
        share = min((phase.done + phase.inside) / phase.steps, 1.0)
        if phase.parent is None:
            self.share = max(self.share, share)
        elif phase.parent in self._phases:
            self._phases[phase.parent].inside = share
            self._update(phase.parent)
