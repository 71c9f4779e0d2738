"""What a processor makes of products of eight bits.

x86 processors without VNNI add two of them in 16 bits, which saturates (vpmaddubsw, in ONNX Runtime and OpenVINO).
Measured with a processor emulated (docs/quantise.md): deepvit_s, of random weights, falls from 33.5 to 14.2 dB.
"""

import pathlib
import platform

CPUINFO = pathlib.Path("/proc/cpuinfo")
X86 = ("x86_64", "AMD64")
EXACT = frozenset({"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"})  # by Linux's names


def saturates() -> bool:
    """Return whether sums of products of eight bits saturate here; False where the system does not say."""
    if platform.machine() not in X86:
        return False
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return False
    flags = next((line.split() for line in lines if line.startswith("flags")), None)
    return flags is not None and EXACT.isdisjoint(flags)
