"""Which engines an export builds here, and why not the others."""

import dataclasses
import pathlib
import shlex

from deepvit.runtime.artifact.manifest import Backend, ReattentionForm
from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.kernels.plugin_record import NO_PLUGIN, Use, named_plugin, why_no_plugin
from deepvit.runtime.trt.machine import Machine

from ..options import Target
from .options import EngineOptions
from .plan import require_target, why_not_here

BACKENDS = {
    Target.TENSORRT: (Backend.TENSORRT,),
    Target.TENSORRT_RTX: (Backend.TENSORRT_RTX,),
    Target.AUTO: tuple(Backend),
}
# What TensorRT-RTX 1.7 lists as its ComputeCapability; data-centre cards from 9.0 on are not among them.
RTX_CAPABILITIES = frozenset({"7.5", "8.0", "8.6", "8.9", "12.0", "12.1"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class EngineChoice:
    """The engines to build, and for the others why not."""

    build: tuple[EngineOptions, ...]
    skipped: tuple[str, ...]

    def describe(self, folder: pathlib.Path) -> str:
        """Return in one line why engines were left out and how to get one; nothing where none was wanted."""
        if not self.skipped:
            return ""
        reasons = "; ".join(self.skipped)
        if self.build:
            return f"no other engine was built here: {reasons}"
        elsewhere = f"on the machine with the GPU: ‹deepvit› build {shlex.quote(str(folder))}"
        return f"no TensorRT engine was built here: {reasons}; for a CPU, ‹target› cpu is faster; {elsewhere}"


def choose_engines(
    target: Target,
    compute_capabilities: tuple[str, ...],
    machine: Machine,
    reattention: ReattentionForm = ReattentionForm.UNFUSED,
) -> EngineChoice:
    """Return what `target` builds on `machine` of a graph with its re-attention in this form.

    Raises:
        MissingError: A target that was named cannot be built here, or of such a graph.
        InputError: `compute_capabilities` for a target that takes none.
    """
    if compute_capabilities and target not in BACKENDS:
        raise InputError(f"‹compute_capability› is for engines, of which ‹target› {target.value} builds none")
    is_fused = reattention is ReattentionForm.FUSED
    if target is Target.AUTO and is_fused and named_plugin() is None:  # one reason for all
        return EngineChoice(build=(), skipped=(NO_PLUGIN,))
    build, skipped = [], []
    for backend in BACKENDS.get(target, ()):
        requested = compute_capabilities if backend is Backend.TENSORRT_RTX or target is Target.TENSORRT else ()
        options = EngineOptions(backend=backend, compute_capabilities=requested)
        why = why_not_here(options, machine)
        if why is not None and target is Target.AUTO:
            skipped.append(why)
            continue
        capabilities = require_target(options, machine)
        if target is Target.AUTO and not requested and not RTX_CAPABILITIES.issuperset(capabilities):
            skipped.append(f"tensorrt-rtx does not build for compute capability {capabilities[0]}")
            continue
        why = why_not_fused(options, machine) if is_fused else None
        if why is not None and target is not Target.AUTO:
            raise MissingError(f"‹target› {backend.value} cannot be built here: {why}")
        if why is not None:
            skipped.append(why)
            continue
        build.append(options)
    return EngineChoice(build=tuple(build), skipped=tuple(skipped))


def why_not_fused(options: EngineOptions, machine: Machine) -> str | None:
    """Return in words why an engine of fused re-attention cannot be built so; None where the named plugin fits it."""
    own = (machine.compute_capability,) if machine.compute_capability else ()
    capabilities = options.compute_capabilities or own
    version = machine.versions[options.backend]
    return why_no_plugin(Use(backend=options.backend, version=version, compute_capabilities=capabilities))
