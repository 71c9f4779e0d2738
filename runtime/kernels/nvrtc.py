"""CUDA C++ → machine code by NVRTC, without a GPU or a host compiler; the only file here that loads NVRTC."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import MissingError, needed_for

with needed_for("compiling kernels"):
    from cuda.bindings import nvrtc


def nvrtc_version() -> str:
    """Return the version of NVRTC, as in 13.2.

    Raises:
        MissingError: There is none.
    """
    try:
        major, minor = _given(nvrtc.nvrtcVersion())
    except RuntimeError as error:  # the bindings find no library
        raise MissingError(f"compiling kernels needs NVRTC: {error}; pip install nvidia-cuda-nvrtc") from error
    return f"{major}.{minor}"


def compiled(source: str, headers: Mapping[str, str], options: Sequence[str]) -> tuple[bytes, str]:
    """Return the cubin of `source`, which includes `headers` by their names, and what the compiler said.

    Raises:
        RuntimeError: It does not compile without a warning; with the compiler's words.
    """
    names, texts = [name.encode() for name in headers], [text.encode() for text in headers.values()]
    program = _given(nvrtc.nvrtcCreateProgram(source.encode(), b"kernels.cu", len(names), texts, names))
    try:
        (error,) = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])
        log = b" " * _given(nvrtc.nvrtcGetProgramLogSize(program))
        _given(nvrtc.nvrtcGetProgramLog(program, log))
        said = log.rstrip(b"\0").decode(errors="replace")
        if error != nvrtc.nvrtcResult.NVRTC_SUCCESS or "warning" in said:
            raise RuntimeError(f"NVRTC {error.name} with {' '.join(options)}: {said}")
        cubin = b" " * _given(nvrtc.nvrtcGetCUBINSize(program))
        _given(nvrtc.nvrtcGetCUBIN(program, cubin))
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    return cubin, said


def _given(result: tuple[Any, ...]) -> Any:
    """Return the value of a call, or its values, or raise what it says."""
    error, *values = result
    if error != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise RuntimeError(f"NVRTC said {error.name}")
    return values[0] if len(values) == 1 else values
