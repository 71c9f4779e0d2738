"""Kernels of `runtime/kernels/cuda` on this CPU, by the emulator beside this; and what they should give."""

import ctypes
import dataclasses
import math
import os
import pathlib
import subprocess

import ml_dtypes
import numpy as np

from deepvit.runtime.kernels.table import Number
from tests.places import ROOT

SOURCES = ROOT / "runtime/kernels/cuda"
EMULATOR = pathlib.Path(__file__).with_name("emulator")
# Without the checks of longjmp that forbid it to change the stack, as fibers do.
COMPILE = (os.environ.get("CXX", "c++"), "-std=c++20", "-U_FORTIFY_SOURCE", "-shared", "-fPIC", "-Wall")
DTYPES = {Number.FP16: np.dtype(np.float16), Number.BF16: np.dtype(ml_dtypes.bfloat16)}
GAP = 1 << 20
LOG2E = math.log2(math.e)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One call, float64 with values of the kernel's types: (B, N, 3, H, d), Θ' (H, H), b' (H), c (3, H, d).

    `tokens` of the N are keys, and `queries` are queries.
    """

    qkv: np.ndarray
    theta: np.ndarray
    bias: np.ndarray
    channels: np.ndarray
    scale: float
    tokens: int
    queries: int


def compiled(kernels, folder):
    """A library of these kernels for `Emulated`, made in `folder`."""
    return compiled_code('#include "reattention.cuh"\n' + entries(kernels), folder, "-O1")


def entries(kernels, suffix=""):
    """What makes these kernels entries of a library, where `reattention.cuh` is included."""
    return "".join(f"EMULATED({each.name}{suffix}, {each.arguments})\n" for each in kernels)


def compiled_code(code, folder, level):
    source, library = folder / "kernels.cpp", folder / "kernels.so"
    source.write_text(f'#include "launch.h"\n{code}')
    subprocess.run([*COMPILE, level, f"-I{EMULATOR}", f"-I{SOURCES}", source, "-o", library], check=True)
    return library


class Launch(ctypes.Structure):
    """As in `emulator/launch.h`."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("qkv", "out", "theta", "bias", "channels")),
        ("scale_log2", ctypes.c_float),
        *((name, ctypes.c_int) for name in ("tokens", "queries", "batch")),
        ("tiles", ctypes.c_void_p),
        ("tile_count", ctypes.c_int),
        ("seed", ctypes.c_uint),
    ]


class FaultError(RuntimeError):
    """What the emulator saw a kernel do that it may not."""


class Emulated:
    """Kernels of one library; `suffix` is behind their names there."""

    def __init__(self, library, suffix=""):
        self._library, self._suffix = ctypes.CDLL(str(library)), suffix
        self._library.emulator_fault.restype = ctypes.c_char_p
        self._library.emulator_conflicts.restype = ctypes.c_long

    def _entry(self, kernel, name):
        return getattr(self._library, f"{kernel.name}{self._suffix}_{name}")

    def shared_bytes(self, kernel):
        return self._entry(kernel, "shared_bytes")()

    @property
    def conflicts(self):
        """How many accesses to shared memory of the last run met in a bank."""
        return self._library.emulator_conflicts()

    def run(self, kernel, case, seed, tiles=None):
        """The output (B, M, H·d) of M queries in the kernel's type, NaN in rows whose tile is not among `tiles` (default: all)."""
        dtype = DTYPES[kernel.number]
        batch, tokens, _, heads, width = case.qkv.shape
        qkv = aligned(case.qkv, dtype)
        out = aligned(np.full((batch, case.queries, heads * width), np.nan), dtype)
        wide = [aligned(each, np.float32) for each in (case.theta, case.bias, case.channels)]
        tiles = np.arange(kernel.grid(case.queries, batch)[0]) if tiles is None else np.asarray(tiles)
        tiles = tiles.astype(np.int32)
        launch = Launch(
            *(each.ctypes.data for each in (qkv, out, *wide)),
            case.scale * LOG2E,
            tokens,
            case.queries,
            batch,
            tiles.ctypes.data,
            len(tiles),
            seed,
        )
        if self._entry(kernel, "emulated")(ctypes.byref(launch)) < 0:
            raise FaultError(self._library.emulator_fault().decode())
        return out


def aligned(array, dtype):
    """A copy as CUDA would allocate it, in multiples of 256 bytes; what misses it does not meet the next one."""
    array = np.asarray(array).astype(dtype)
    memory = np.empty(array.nbytes + 2 * GAP, np.uint8)
    offset = GAP - memory.ctypes.data % 256
    copy = memory[offset : offset + array.nbytes].view(dtype).reshape(array.shape)
    copy[...] = array
    return copy


def random_case(kernel, seed, *, batch=1, rows=None, queries=None, gain=1.7, is_scaled=False):
    """Scores of several units, Θ' and b' of the size that folding makes of them; q and the output as they are, or scaled."""
    random = np.random.default_rng(seed)
    dtype = DTYPES[kernel.number]
    qkv = random.standard_normal((batch, rows or kernel.tokens, 3, kernel.heads, kernel.width))
    qkv[:, :, :2] *= gain
    channels = np.ones((3, kernel.heads, kernel.width)) * [[[1]], [[0]], [[1]]]
    if is_scaled:
        of_channels = np.random.default_rng([seed, 1])
        channels[::2] = of_channels.uniform(0.1, 1, channels[::2].shape)
        channels[1] = gain / 2 * of_channels.standard_normal(channels[1].shape)
        qkv[:, :, 0] /= channels[0]
    return Case(
        qkv=qkv.astype(dtype).astype(np.float64),
        theta=(30 * random.standard_normal((kernel.heads, kernel.heads))).astype(np.float32).astype(np.float64),
        bias=(0.05 * random.standard_normal(kernel.heads)).astype(np.float32).astype(np.float64),
        channels=channels.astype(np.float32).astype(np.float64),
        scale=kernel.width**-0.5,
        tokens=kernel.tokens,
        queries=queries or rows or kernel.tokens,
    )


def reference(case, where=slice(None)):
    """(B, M, H·d) in float64, of the rows that are asked for."""
    return _attended(case, where, np.float64)


def unfused(case, number, where=slice(None)):
    """The same where every tensor between two operators is rounded, as in an exported graph of that type."""
    return _attended(case, where, DTYPES[number]).astype(np.float64)


def _attended(case, where, dtype):
    def rounded(x):
        return x.astype(dtype).astype(np.float64)

    q, k, v = case.qkv.transpose(2, 0, 3, 1, 4)
    factor, added, out_factor = rounded(case.channels)[:, :, None]
    q = rounded(rounded(q[:, :, : case.queries] * factor) + added)
    q, k, v = q[:, :, where], k[:, :, : case.tokens], v[:, :, : case.tokens]
    scores = rounded(q @ k.transpose(0, 1, 3, 2) * case.scale)
    maps = np.exp(scores - scores.max(-1, keepdims=True))
    maps = rounded(maps / maps.sum(-1, keepdims=True))
    mixed = rounded(np.einsum("gh,bhqk->bgqk", rounded(case.theta), maps))
    mixed = rounded(mixed + rounded(case.bias)[:, None, None])
    out = rounded(rounded(mixed @ v) * out_factor).transpose(0, 2, 1, 3)
    return out.reshape(*out.shape[:2], -1).astype(dtype)


def relative_error(out, expected):
    """‖out − expected‖ / ‖expected‖; infinite where `out` is not finite."""
    out = out.astype(np.float64)
    return float(np.linalg.norm(out - expected) / np.linalg.norm(expected)) if np.isfinite(out).all() else math.inf
