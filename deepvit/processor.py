"""What processor this is."""

import pathlib
import platform

CPUINFO = pathlib.Path("/proc/cpuinfo")


def processor_name() -> str:
    """Return the processor's name as Linux has it, else as Python does."""
    lines = CPUINFO.read_text().splitlines() if CPUINFO.is_file() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
