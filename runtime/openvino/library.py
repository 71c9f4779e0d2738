"""OpenVINO itself: the only file that loads it."""

import importlib.util
import logging
import sys
from typing import TYPE_CHECKING

from ..artifact.manifest import Precision
from ..errors import MissingError, needed_for

if TYPE_CHECKING:
    import openvino

logger = logging.getLogger(__name__)
OPENVINO = "openvino"  # as a provider's name, and the package's
CPU = "CPU"
# When it is imported OpenVINO tells its maker so, under a number that it keeps in ~/intel, unless a file there refuses.
# Where its messenger cannot be imported it tells nothing and writes nothing: so here, in this process.
MESSENGER = "openvino_telemetry"
ARITHMETIC = {Precision.FP32: "f32", Precision.BF16: "bf16"}  # what floats can be computed in, by OpenVINO's names
# What it runs faster than ONNX Runtime on a CPU, and BF16 where the processor multiplies that; FP8 it does not
# (docs/results.md).
FASTER = frozenset({Precision.FP32, Precision.FP16, Precision.INT8})


def is_installed() -> bool:
    """Return whether OpenVINO is here; nothing is loaded."""
    return importlib.util.find_spec(OPENVINO) is not None


def load_openvino() -> "openvino.Core":
    """Return a new core of OpenVINO.

    Raises:
        MissingError: It is not installed, or cannot be loaded.
    """
    sys.modules.setdefault(MESSENGER, None)  # type: ignore[arg-type]
    with needed_for("‹provider› openvino"):
        import openvino

        return openvino.Core()


def version() -> str:
    """Return the version of the loaded library, without its build."""
    return str(sys.modules[OPENVINO].__version__).partition("-")[0]


def has_bfloat16() -> bool:
    """Return whether OpenVINO is here, and multiplies BF16 in hardware on this processor."""
    return is_installed() and "BF16" in load_openvino().get_property(CPU, "OPTIMIZATION_CAPABILITIES")


def is_faster(precision: Precision) -> bool:
    """Return whether OpenVINO is here, and what runs a graph of `precision` fastest on this processor."""
    try:
        return has_bfloat16() if precision is Precision.BF16 else precision in FASTER and _can_be_loaded()
    except MissingError as error:
        logger.warning("not using OpenVINO: %s", error)
        return False


def _can_be_loaded() -> bool:
    return is_installed() and load_openvino() is not None
