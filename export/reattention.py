"""Whether an export that leaves it open writes re-attention fused: for engines that are built here with a plugin."""

import dataclasses
from typing import TYPE_CHECKING

from deepvit.runtime.errors import InputError
from deepvit.runtime.kernels.plugin_record import VARIABLE, named_plugin
from deepvit.runtime.kernels.table import SHAPES

from .graph.reattention.kernel import kernel_for
from .options import ExportOptions, Reattention

if TYPE_CHECKING:
    from deepvit.runtime.trt.machine import Machine

    from .engine.choice import EngineChoice
    from .plan import ModelShape


def choose_reattention(
    options: ExportOptions, engines: "EngineChoice", machine: "Machine", shape: "ModelShape"
) -> tuple[ExportOptions, str]:
    """Return `options` with the form of re-attention chosen, and in a line which and why.

    It is fused where every engine that is built here can have the plugin that $DEEPVIT_PLUGIN names, the plugin has a
    kernel for the model, and no other option speaks against it. Where `options` say the form, or nothing names a
    plugin, there is no line.

    Args:
        options: Of the export.
        engines: Those that it builds on `machine`, of an unfused graph.
        machine: This one.
        shape: Of the model.
    """
    path = named_plugin()
    if options.graph.reattention is not Reattention.AUTO:
        return options, ""
    unfused = _written(options, Reattention.UNFUSED)
    if path is None:
        return unfused, ""
    try:
        fused = _written(options, Reattention.FUSED)
        _require(fused, engines, machine, shape)
    except InputError as why:
        return unfused, f"re-attention unfused, though {VARIABLE} names a plugin: {why}"
    which = " and ".join(each.backend.value for each in engines.build)
    return fused, f"re-attention fused, with the kernels of {path} for {which}; ‹reattention› unfused goes without"


def _written(options: ExportOptions, reattention: Reattention) -> ExportOptions:
    return dataclasses.replace(options, graph=dataclasses.replace(options.graph, reattention=reattention))


def _require(fused: ExportOptions, engines: "EngineChoice", machine: "Machine", shape: "ModelShape") -> None:
    """Raise InputError with the reason where the graph cannot be fused."""
    from .engine.choice import why_not_fused

    if not engines.build:
        raise InputError("no TensorRT engine is built here")
    kernel = kernel_for(shape.variant, shape.img_size, fused.graph.spec, fused.graph.precision)
    if (kernel.heads, kernel.width, kernel.tokens) not in SHAPES:
        sizes = f"{kernel.heads} heads of width {kernel.width} over {kernel.tokens} tokens"
        raise InputError(f"it has no kernel for {sizes}")
    whys = {engine.backend: why for engine in engines.build if (why := why_not_fused(engine, machine))}
    able = [engine.backend.value for engine in engines.build if engine.backend not in whys]
    if whys:
        alone = f"; ‹target› {able[0]} alone can have it" if able else ""
        raise InputError(f"{next(iter(whys.values()))}{alone}")
