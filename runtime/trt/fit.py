"""Whether an engine can run on a machine, by what its manifest says; asked before a byte of the plan is loaded.

The C++ runtime has the same rules (cpp/src/artifact/engine_fit.cpp); cpp/tests/data/engine_fit_cases.json holds both to
them.
"""

import logging
import shlex

from ..artifact.manifest import Backend, Engine, HardwareCompatibility
from ..artifact.versions import numbers_of
from ..errors import MissingError
from ..kernels.plugin_record import Use, why_no_plugin
from .library import INSTALL, MODULES
from .machine import Machine

logger = logging.getLogger(__name__)
NEXT_MAJOR = {10: 11}  # which major version loads the version-compatible plans of another
NAMES = {Backend.TENSORRT: "TensorRT", Backend.TENSORRT_RTX: "TensorRT-RTX"}


def require_fit(engine: Engine, machine: Machine, folder: str) -> None:
    """Pass where `engine` can run on `machine`; the plugin that it may need is held against it where it is loaded.

    Raises:
        MissingError: Another machine's engine; with both sides and the command that mends it.
    """
    faults = _misfits_of_machine(engine, machine)
    if faults:
        backend = engine.backend
        has = _has(machine, backend)
        raise MissingError(
            f"{folder}/{engine.file} was built for {_built_for(engine)}; this machine has "
            f"{'; '.join([has, *(fault for fault in faults if fault not in has)])}; {_mend(machine, backend, folder)}"
        )
    if machine.gpu != engine.gpu and engine.gpu is not None:
        logger.warning("%s was tuned on %s, this is %s: it may be slower", engine.file, engine.gpu, machine.gpu)
    # CUDA runs on any driver of its major version, and says itself where one is too old.
    if engine.driver and machine.driver and numbers_of(machine.driver) < numbers_of(engine.driver):
        logger.warning("%s was built on driver %s, %s is older", engine.file, engine.driver, machine.driver)


def misfits(engine: Engine, machine: Machine) -> list[str]:
    """Return in words what keeps `engine` from running on `machine`; nothing where it can."""
    faults = _misfits_of_machine(engine, machine)
    if faults or engine.plugin is None:
        return faults
    capabilities = tuple(filter(None, [machine.compute_capability]))
    version = machine.versions[engine.backend]
    use = Use(backend=engine.backend, version=version, compute_capabilities=capabilities, built_with=engine.plugin)
    return list(filter(None, [why_no_plugin(use)]))


def _misfits_of_machine(engine: Engine, machine: Machine) -> list[str]:
    backend = engine.backend
    faults = []
    version = machine.versions.get(backend)
    if version is None:
        faults.append(f"{MODULES[backend]} is not installed ({INSTALL[backend]})")
    elif not _version_fits(engine, version):
        faults.append(f"a plan of {NAMES[backend]} {engine.version} does not load in {version}")
    if machine.compute_capability is None:
        faults.append(_no_gpu(machine))
    elif not _capability_fits(engine, machine.compute_capability):
        faults.append(f"compute capability {machine.compute_capability} is not {_capabilities(engine)}")
    return faults


def _version_fits(engine: Engine, here: str) -> bool:
    """A plan loads in the very build that wrote it; a version-compatible one also in later ones, of 10 in 11 too.

    By TensorRT's support matrix: docs.nvidia.com/deeplearning/tensorrt/11.4.1/getting-started/support-matrix.html.
    """
    builder, loader = numbers_of(engine.version), numbers_of(here)
    if engine.version_compatible:
        return bool(builder) and loader >= builder and loader[0] in (builder[0], NEXT_MAJOR.get(builder[0]))
    return builder == loader


def _capability_fits(engine: Engine, here: str) -> bool:
    if engine.hardware_compatible is HardwareCompatibility.AMPERE_PLUS:
        return numbers_of(here) >= (8, 0)
    return here in engine.compute_capability.split(",")


def _capabilities(engine: Engine) -> str:
    if engine.hardware_compatible is HardwareCompatibility.AMPERE_PLUS:
        return "8.0 or newer"
    return " or ".join(engine.compute_capability.split(","))


def _built_for(engine: Engine) -> str:
    driver = f", driver {engine.driver}" if engine.driver else ""
    return f"{NAMES[engine.backend]} {engine.version} on compute capability {_capabilities(engine)}{driver}"


def _has(machine: Machine, backend: Backend) -> str:
    version = machine.versions.get(backend)
    library = f"{NAMES[backend]} {version}" if version else f"no {NAMES[backend]}"
    if not machine.has_gpu:
        return f"{library} and {_no_gpu(machine)}"
    return f"{library} on compute capability {machine.compute_capability}, driver {machine.driver}"


def _no_gpu(machine: Machine) -> str:
    return f"no NVIDIA GPU ({machine.why_no_gpu})"


def _mend(machine: Machine, backend: Backend, folder: str) -> str:
    build = f"run `‹deepvit› build {shlex.quote(folder)} ‹target› {backend.value}`"
    if machine.has_gpu:
        return f"{build} here"
    return f"{build} where it shall run, or use {folder}/model.onnx here"
