"""Forms compared by what TensorRT-RTX makes of them: fewest bytes through memory, then fewest kernels."""

import dataclasses
from collections.abc import Callable, Sequence

import onnx

from deepvit.runtime.artifact.manifest import ChooseForm, TriedForm, TriedForms

from ..engine.listing.compile import Graph, compile_kernels
from ..engine.listing.traffic import Compiled
from ..graph.onnx_file import to_bytes
from .form import Form

COMPUTE_CAPABILITY = "8.9"
BATCH = 32  # as in docs/kernels.md


class Listing:
    """Forms that have been compiled, each once.

    Args:
        graph_of: Form → its graph, in its types.
        batch: The batch size that they are compiled for.
        is_fixed: Whether it is the only one that the graph takes.
    """

    def __init__(self, graph_of: Callable[[Form], onnx.ModelProto], batch: int, *, is_fixed: bool) -> None:
        self._graph_of, self._batch, self._is_fixed = graph_of, batch, is_fixed
        self._compiled: dict[Form, Compiled] = {}

    def best_of(self, forms: Sequence[Form]) -> Form:
        """Return the form that moves least, of equals the one with fewest kernels, and of those the first.

        Raises:
            MissingError: TensorRT-RTX is not installed.
            DeviceError: The compiler gave up, or does not list what it made.
        """
        return min(forms, key=self._cost)

    def _cost(self, form: Form) -> tuple[int, int]:
        if form not in self._compiled:
            content = to_bytes(self._graph_of(form))
            graph = Graph(content=content, fixed_batch=self._batch if self._is_fixed else None, most=self._batch)
            self._compiled[form] = compile_kernels(graph, self._batch, COMPUTE_CAPABILITY, lambda _phase, _share: None)
        kernels = self._compiled[form].kernels
        return sum(kernel.bytes for kernel in kernels), len(kernels)

    def record(self, chosen: Form) -> TriedForms:
        """Return what was tried, for the manifest."""
        version = next(iter(self._compiled.values())).version
        forms = []
        for form in self._compiled:
            size, count = self._cost(form)
            mb = round(size / self._batch / 1e6, 3)
            forms.append(TriedForm(**dataclasses.asdict(form), mb_per_image=mb, kernels=count))
        return TriedForms(
            by=ChooseForm.LISTING,
            tool=f"TensorRT-RTX {version}",
            where=f"compute capability {COMPUTE_CAPABILITY}",
            batch=self._batch,
            forms=tuple(forms),
            chosen=list(self._compiled).index(chosen),
        )
