"""The emulator's fragments against another source than the PTX ISA's words: the layouts of NVIDIA/cutlass.

There a layout maps (lane, value) to a place of the matrix, column by column: shapes and strides below are those of
include/cute/atom/mma_traits_sm80.hpp and copy_traits_sm75.hpp (in bits there, in numbers here). An emulator that were
wrong in the same way on both sides of a product would pass every other test.
"""

import ctypes
import itertools

import numpy as np
import pytest

from tests.runtime.kernels.emulated import compiled_code

ROWS_OF_16 = (((4, 32), (8, 1)), ((2, 16), (2, 8)))  # lanes, values: each of (size, stride), the fastest first
MULTIPLY = {  # depth → layouts of A (16 × depth), B (8 × depth) and C (16 × 8)
    16: ((((4, 32), (8, 1)), ((2, 16), (2, 8), (2, 128))), (((4, 16), (8, 1)), ((2, 8), (2, 64))), ROWS_OF_16),
    8: (ROWS_OF_16, (((4, 16), (8, 1)), ((2, 8),)), ROWS_OF_16),
}
# Lanes and values of four 8 × 8 matrices behind each other, row by row.
PLAIN = (((32, 2),), ((2, 1), (4, 64)))
TRANSPOSED = (((4, 16), (8, 1)), ((2, 8), (4, 64)))
CODE = """
#include "emulated_instructions.h"
using emulator::Warp;
struct Lanes { u32 in[32][6], out[32][4]; float sums[32][4]; const u16* address[32]; };
template <class Action>
void on_warp(Lanes& lanes, const Action& action) {
  static emulator::Block any;
  emulator::block = &any;
  Warp warp;
  std::memcpy(warp.in, lanes.in, sizeof warp.in);
  std::memcpy(warp.sums, lanes.sums, sizeof warp.sums);
  std::memcpy(warp.address, lanes.address, sizeof warp.address);
  action(warp);
  std::memcpy(lanes.out, warp.out, sizeof warp.out);
  std::memcpy(lanes.sums, warp.sums, sizeof warp.sums);
}
extern "C" void multiply_16(Lanes& of) { on_warp(of, [](Warp& w) { emulator::multiply<16>(w, emulator::half_values); }); }
extern "C" void multiply_8(Lanes& of) { on_warp(of, [](Warp& w) { emulator::multiply<8>(w, emulator::half_values); }); }
extern "C" void load_plain(Lanes& of) { on_warp(of, emulator::load_matrices<false>); }
extern "C" void load_transposed(Lanes& of) { on_warp(of, emulator::load_matrices<true>); }
extern "C" void transpose(Lanes& of) { on_warp(of, emulator::transpose); }
"""


class Lanes(ctypes.Structure):
    _fields_ = [
        ("words", ctypes.c_uint32 * 6 * 32),
        ("out", ctypes.c_uint32 * 4 * 32),
        ("sums", ctypes.c_float * 4 * 32),
        ("address", ctypes.c_void_p * 32),
    ]


@pytest.fixture(scope="module")
def warp(tmp_path_factory):
    return ctypes.CDLL(str(compiled_code(CODE, tmp_path_factory.mktemp("warp"), "-O0")))


def places(layout):
    """(lanes, values) → place."""
    lanes, values = (
        [
            sum(i * stride for i, (_, stride) in zip(reversed(each), dims))
            for each in itertools.product(*(range(size) for size, _ in reversed(dims)))
        ]
        for dims in layout
    )
    return np.add.outer(lanes, values)


def column_by_column(matrix):
    return matrix.reshape(-1, order="F")


@pytest.mark.parametrize("depth", MULTIPLY)
def test_products(warp, depth):
    random = np.random.default_rng(0)
    a, b = (random.integers(-8, 8, shape).astype(np.float16) for shape in ((16, depth), (8, depth)))
    of_a, of_b, of_c = map(places, MULTIPLY[depth])
    words = np.concatenate([column_by_column(a)[of_a], column_by_column(b)[of_b]], 1).view(np.uint32)
    lanes = Lanes()
    np.ctypeslib.as_array(lanes.words)[:, : words.shape[1]] = words
    getattr(warp, f"multiply_{depth}")(ctypes.byref(lanes))
    expected = a.astype(np.float32) @ b.astype(np.float32).T
    sums = np.ctypeslib.as_array(lanes.sums)
    assert np.array_equal(sums, column_by_column(expected)[of_c])
    assert not np.array_equal(sums, column_by_column(expected)[of_c[:, [0, 2, 1, 3]]])  # rows and columns exchanged


@pytest.mark.parametrize(("name", "layout"), [("load_plain", PLAIN), ("load_transposed", TRANSPOSED)])
def test_loads_of_matrices(warp, name, layout):
    matrices = np.arange(4 * 8 * 8, dtype=np.uint16)
    lanes = Lanes()
    lanes.address[:] = [matrices.ctypes.data + 16 * row for row in range(32)]
    getattr(warp, name)(ctypes.byref(lanes))
    assert np.array_equal(np.ctypeslib.as_array(lanes.out).view(np.uint16), places(layout))


def test_a_transposition(warp):
    """Of what a plain load gives it makes what a transposed one gives."""
    lanes = Lanes()
    np.ctypeslib.as_array(lanes.words)[:, 0] = places(PLAIN)[:, :2].astype(np.uint16).view(np.uint32)[:, 0]
    warp.transpose(ctypes.byref(lanes))
    assert np.array_equal(np.ctypeslib.as_array(lanes.out)[:, :1].copy().view(np.uint16), places(TRANSPOSED)[:, :2])
