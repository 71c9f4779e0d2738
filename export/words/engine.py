"""An engine in words: what came of its build, where it runs, what it is made of."""

from collections.abc import Iterator

import rich.table

from deepvit.runtime.artifact.manifest import Engine, EnginePlugin, Manifest
from deepvit.runtime.trt.fit import misfits
from deepvit.runtime.trt.machine import Machine


def describe_build(manifest: Manifest, plan: str) -> Iterator[str]:
    """Yield what came of a build: the plan, its precision, and how far its answers are from the graph's."""
    engine = next(engine for engine in manifest.engines if engine.file == plan)
    record = manifest.files[plan]
    yield f"built {plan}, {record.bytes / 1e6:.1f} MB, for {_engine_line(engine)}, SHA-256 {record.sha256}"
    yield f"precision: {_gemm_types(engine.census.network)} in the network, as promised"
    if engine.plugin is not None:
        yield _plugin_line(engine.plugin)
    if engine.census.engine is None:
        yield "the finished engine's layers are unknown: nothing listed them when it was built"
    else:
        gemms = engine.census.gemms_attributed
        yield f"the finished engine's layers hold to it: all {gemms} GEMMs and convolutions were found in them"
    rungs = [stage for stage in manifest.parity if stage.stage == f"engine-{engine.backend.value}"]
    if not rungs:
        yield "not run: no GPU here can run this engine; its answers were not checked"
    for stage in rungs:
        sqnr = "exact" if stage.sqnr_db is None else f"SQNR {stage.sqnr_db:.1f} dB"
        agreement = f"top-1 agreement {stage.top1_agreement:.2%}"
        yield f"against {stage.against} on {stage.images} images: {sqnr}, {agreement}"


def describe_engine(engine: Engine, machine: Machine) -> Iterator[str | rich.table.Table]:
    """Yield what an engine is, whether it runs here, and its layers."""
    yield ""
    yield f"engine {engine.file}: {_engine_line(engine)}"
    tuned = f"tuned on {engine.gpu}, driver {engine.driver}" if engine.gpu else "built without a GPU"
    flags = [name for name in ("version_compatible", "weight_stripped") if getattr(engine, name)]
    flags += [f"{name} {value}" for name, value in engine.options.model_dump().items()]
    yield f"{tuned}; hardware-compatible {engine.hardware_compatible.value}; {', '.join(flags) or 'no further options'}"
    if engine.plugin is not None:
        yield _plugin_line(engine.plugin)
    faults = misfits(engine, machine)
    yield f"runs here: {'no: ' + '; '.join(faults) if faults else 'yes'}"
    table = rich.table.Table(box=None, pad_edge=False)
    for column in ("layers of the", "type and data type", "count"):
        table.add_column(column, no_wrap=True)
    for where, census in (("network", engine.census.network), ("engine", engine.census.engine or {})):
        for name, count in census.items():
            table.add_row(where, name, f"{count}")
    yield table
    if engine.census.engine is None:
        yield "the finished engine's layers are unknown: nothing listed them when it was built"


def _plugin_line(plugin: EnginePlugin) -> str:
    return (
        f"built with the plugin {plugin.layer}, kernels of SHA-256 {plugin.kernels_sha256}, which it needs to run too, "
        f"in a library of SHA-256 {plugin.sha256}"
    )


def _engine_line(engine: Engine) -> str:
    profile = f"batch {engine.profile}"
    return f"{engine.backend.value} {engine.version}, compute capability {engine.compute_capability}, {profile}"


def _gemm_types(census: dict[str, int]) -> str:
    kinds = ("MATRIX_MULTIPLY", "CONVOLUTION", "SOFTMAX", "PLUGIN")
    return ", ".join(f"{count} {name}" for name, count in census.items() if name.startswith(kinds))
