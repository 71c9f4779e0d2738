"""Faults planted into the kernel's source, each of which the emulator or the comparison with float64 must tell."""

import dataclasses
import re

import pytest

from deepvit.runtime.kernels.table import Kernel, Number
from tests.runtime.kernels.emulated import (
    SOURCES,
    Emulated,
    FaultError,
    compiled_code,
    entries,
    random_case,
    reference,
    relative_error,
)

BOUND, SCALED = 5e-4, 1.5  # as in test_accuracy.py
# One pass of two parts, and three passes; three of the tokens that are stored do not count as keys.
KERNELS = (
    Kernel(number=Number.FP16, heads=12, width=40, tokens=107, rows=16),
    Kernel(number=Number.FP16, heads=12, width=40, tokens=77, rows=16, keys=32),
)
ASKED = ({}, {"batch": 2, "queries": 19, "is_scaled": True})  # of each
WRONG = "the result is wrong"
SLOW = "accesses meet in a bank"
UNORDERED = "no barrier between|read before it is written"


@dataclasses.dataclass(frozen=True)
class Planted:
    """What stands in a file instead of `text`, and what is then said."""

    file: str
    text: str
    instead: str
    told: str = WRONG


PLANTED = {
    "missing barrier before the mix": Planted("reattention.cuh", "synchronize();\n  mix_heads", "mix_heads", UNORDERED),
    "missing barrier after the mix": Planted("reattention.cuh", "synchronize();\n  add_values", "add_values", UNORDERED),
    "a barrier for some": Planted(
        "reattention.cuh", "synchronize();\n  mix", "if (thread() >= 32) synchronize();\n  mix", f"{UNORDERED}|do not reach"
    ),
    "Θ' transposed": Planted("mix.cuh", "all + to * S::HEADS + from", "all + from * S::HEADS + to"),
    "q not scaled": Planted("scores.cuh", "low * load_float(factor)", "low"),
    "nothing added to q": Planted("scores.cuh", " + load_float(added + 1)", ""),
    "added to q before it is scaled": Planted(
        "scores.cuh", "low * load_float(factor) + load_float(added)", "(low + load_float(added)) * load_float(factor)"
    ),
    "channels of another head": Planted("rows.cuh", "which * S::HEADS + lane.head)", "which * S::HEADS + lane.head / 2)"),
    "channels of other columns": Planted("rows.cuh", "8 * lane.t + 2 * word", "8 * lane.t + word"),
    "channels of the last columns": Planted("rows.cuh", ": middle + 2 * lane.t", ": middle + lane.t"),
    "channels beyond their end": Planted("values.cuh", "(channels, 2, j)", "(channels, 3, j)", "read out"),
    "output scaled as q": Planted("values.cuh", "(channels, 2, j)", "(channels, 0, j)"),
    "images of the output as far apart as those read": Planted(
        "reattention.cuh", "i64(block_y()) * of.queries", "i64(block_y()) * of.tokens", "write out of bounds"
    ),
    "images read as far apart as those of the output": Planted(
        "reattention.cuh", "i64(block_y()) * of.tokens", "i64(block_y()) * of.queries"
    ),
    "b' forgotten": Planted("mix.cuh", "x[4] = {mix.bias[0], mix.bias[0], mix.bias[1], mix.bias[1]}", "x[4] = {}"),
    "mask off by one": Planted("rows.cuh", "first + of_tile < S::TOKENS", "first + of_tile <= S::TOKENS"),
    "scale missing": Planted("scores.cuh", "exp2_of(s[j][2 * r] * scale - shift)", "exp2_of(s[j][2 * r] - shift)"),
    "wrong places": Planted("shape.cuh", "(first ^ exchange)", "(first + exchange)", f"{UNORDERED}|{WRONG}"),
    "wrong row of a fragment": Planted(
        "scores.cuh", "{q[0][i], q[1][i], q[0][i + 1], q[1][i + 1]}", "{q[0][i], q[0][i + 1], q[1][i], q[1][i + 1]}"
    ),
    "wrong matrix of v": Planted("values.cuh", "v[i][j] = transposed(v[i][j])", "v[i][j] += 0"),
    "values of another head": Planted("values.cuh", "2 * S::HEADS + lane.head", "2 * S::HEADS + lane.head / 2"),
    "last pass missing": Planted(
        "reattention.cuh", "mix_and_add<S, false>", "if constexpr (S::PASSES == 1) mix_and_add<S, false>"
    ),
    "weights of the first keys": Planted("softmax.cuh", "first < rest;", "first < S::PART;"),
    "weights without the last keys": Planted("softmax.cuh", "if constexpr (rest < S::TOKENS)", "if constexpr (false)"),
    "one weight for both parts": Planted("softmax.cuh", "exp2_of(top[m][r][part] - most) / total", "1 / total"),
    "largest of a lane": Planted("scores.cuh", "x = fmaxf(x, exchanged(x, 1));\n", ""),
    "filling not cleared": Planted("reattention.cuh", "clear_filling<S>();\n", "", "read before it is written"),
    "rows written that are not there": Planted("values.cuh", "if (row < queries) store_row", "store_row", "write out of bounds"),
    "rows read that are not there": Planted("scores.cuh", "lane.head * S::WIDTH, row < queries)", "lane.head * S::WIDTH, true)", "read out"),
    "misaligned": Planted("rows.cuh", "(middle + 2 * t)", "(middle + 2 * t + 1)", "misaligned"),
    "lanes apart": Planted("mix.cuh", "if (!is_one) mix", "if (!is_one && lane.g > 0) mix", "not together"),
    "zeros in one bank": Planted("mix.cuh", "S::zeros() + place % S::BANKS", "S::zeros()", SLOW),
    "places not exchanged": Planted("shape.cuh", "EXCHANGED ? row / 4 % 2 : 0", "0", SLOW),
    "rows not apart": Planted("shape.cuh", "EXCHANGED ? KEYS : KEYS + 8", "KEYS", SLOW),
    "heads not apart": Planted("shape.cuh", "HEAD = ROWS * ROW + 8", "HEAD = ROWS * ROW", SLOW),
}  # fmt: skip


def source(planted=None):
    """All that `reattention.cuh` includes but the instructions, as one text, with or without a fault in it."""

    def included(file):
        text = (SOURCES / file).read_text()
        if planted and planted.file == file:
            assert text.count(planted.text) == 1, planted
            text = text.replace(planted.text, planted.instead)
        return re.sub(r'^#include "(.*)"$', lambda found: once(found[1]), text.replace("#pragma once", ""), flags=re.M)

    def once(file):
        if file in seen:
            return ""
        seen.add(file)
        return included(file)

    seen = {"instructions.cuh"}
    return once("reattention.cuh")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The kernels as they are and with every fault, each in a namespace of its own."""
    planted = [None, *PLANTED.values()]
    code = "".join(f"namespace n{i} {{\n{source(p)}{entries(KERNELS, i)}}}\n" for i, p in enumerate(planted))
    return compiled_code(code, tmp_path_factory.mktemp("planted"), "-O0")


def require_right(emulated):
    """Raise what is wrong with it."""
    for kernel, asked in zip(KERNELS, ASKED, strict=True):
        case = random_case(kernel, 5, rows=kernel.tokens + 3, **asked)
        if relative_error(emulated.run(kernel, case, seed=6), reference(case)) > BOUND * (SCALED if asked else 1):
            raise FaultError(WRONG)
        if emulated.conflicts:
            raise FaultError(SLOW)


def test_nothing_is_told_of_the_kernels_as_they_are(library):
    require_right(Emulated(library, 0))


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_told(library, name):
    with pytest.raises(FaultError, match=PLANTED[name].told):
        require_right(Emulated(library, 1 + list(PLANTED).index(name)))
