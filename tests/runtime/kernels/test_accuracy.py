"""Every kernel against float64, on a CPU: random maps, padded tokens, and what is hard for a softmax or a mix."""

import dataclasses
import secrets

import numpy as np
import pytest
import torch
from torch import nn

from deepvit.export.graph.module import GraphAttention
from deepvit.export.graph.padding import Tokens
from deepvit.model.attention import MixNorm, ReAttention
from deepvit.runtime.artifact.manifest import MixForm, QkvForm
from deepvit.runtime.kernels.table import KERNELS, Kernel, Number
from tests.runtime.kernels.emulated import Emulated, compiled, random_case, reference, relative_error, unfused

# FP16: maps, weighed Θ', A' and the output are rounded once each, by 2⁻¹² on average of what is 2⁻¹¹ at most; √4 of that.
# BF16 has three bits less of everything that is rounded.
BOUND = {Number.FP16: 5e-4, Number.BF16: 8 * 5e-4}
SCALED = 1.5  # q is rounded as well, and with it scores of several units
OF_OTHER_HEADS = tuple(
    Kernel(number=number, heads=heads, width=32, tokens=50, rows=16) for number in Number for heads in (1, 8, 16)
)
ALL = (*KERNELS, *OF_OTHER_HEADS)
HARD = tuple(each for each in KERNELS if each.heads == 12 and each.rows == 16 and each.width == 40)


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    return Emulated(compiled(ALL, tmp_path_factory.mktemp("kernels")))


@pytest.fixture
def seed():
    """Of the order of warps; said where a test fails."""
    drawn = secrets.randbelow(2**31)
    print(f"warps in the order of seed {drawn}")
    return drawn


def tiles_of(kernel, rows):
    """Every tile of rows, or the first, the last and one between, where there are many."""
    count = kernel.grid(rows, 1)[0]
    return range(count) if kernel.tokens < 200 else (0, count // 2, count - 1)


def errors(emulated, kernel, case, seed):
    """Relative errors of the kernel and of the unfused graph, in the rows that were computed."""
    rows = case.queries
    tiles = tiles_of(kernel, rows)
    out = emulated.run(kernel, case, seed, tiles)
    where = np.isin(np.arange(rows) // kernel.rows, tiles)
    assert np.isnan(out[:, ~where].astype(np.float32)).all()
    expected, plain = reference(case, where), unfused(case, kernel.number, where)
    return relative_error(out[:, where], expected), relative_error(plain, expected)


def named(kernel):
    return kernel.name.removeprefix("reattention_")


@pytest.mark.parametrize("kernel", ALL, ids=named)
@pytest.mark.parametrize(("padding", "is_scaled"), [(0, False), (3, True)], ids=["plain", "padded-and-scaled"])
def test_against_float64(emulated, kernel, padding, is_scaled, seed):
    batch = 2 if kernel.tokens < 197 else 1
    case = random_case(kernel, 0, batch=batch, rows=kernel.tokens + padding, is_scaled=is_scaled)
    error, plain = errors(emulated, kernel, case, seed)
    print(f"relative error {error:.2e}, of the unfused graph {plain:.2e}")
    assert error <= BOUND[kernel.number] * (SCALED if is_scaled else 1)
    assert error < plain
    assert emulated.conflicts == 0


@pytest.mark.parametrize("queries", [1, 33])
@pytest.mark.parametrize("kernel", KERNELS[-4:], ids=named)
def test_the_first_tokens_as_queries(emulated, kernel, queries, seed):
    """As in a last block, of which the class token alone is read; the output has no other rows."""
    case = random_case(kernel, 6, batch=2, rows=kernel.tokens + 22, queries=queries)
    assert emulated.run(kernel, case, seed).shape[:2] == (2, queries)
    assert errors(emulated, kernel, case, seed)[0] <= BOUND[kernel.number]


@pytest.mark.parametrize("kernel", HARD, ids=named)
def test_padded_keys_and_values_are_not_read(emulated, kernel, seed):
    case = random_case(kernel, 1, rows=kernel.tokens + 3)
    case.qkv[:, kernel.tokens :, 1:] = np.nan
    assert errors(emulated, kernel, case, seed)[0] <= BOUND[kernel.number]


def test_as_a_graph_that_pads_its_tokens(emulated, seed):
    """All 200 rows, those of padding too: queries like others."""
    kernel = next(each for each in KERNELS if each.width == 32 and each.tokens == 197)
    case = random_case(kernel, 2, rows=200)
    folded = ReAttention(384, 12, MixNorm.NONE).double()
    folded.scale = 1.0
    folded.reatten_matrix.weight.data = torch.from_numpy(case.theta)[:, :, None, None]
    folded.reatten_matrix.bias.data = torch.from_numpy(case.bias)
    graph = GraphAttention(folded, MixForm.MATMUL_VALUE, QkvForm.FUSED, Tokens(197, 200))
    graph.qkv = graph.proj = nn.Identity()
    qkv = case.qkv.copy()
    qkv[:, :, 0] *= case.scale
    with torch.inference_mode():
        expected = graph(torch.from_numpy(qkv).flatten(2)).numpy()
    error = relative_error(emulated.run(kernel, case, seed), expected)
    print(f"relative error {error:.2e}")
    assert error <= BOUND[kernel.number]


def extreme(case):
    """Scores of −25 but for one of 60 a head: softmax is 1 there."""
    case.qkv[:, :, :2] = 0
    case.qkv[:, :, 0, :, 0] = 5
    case.qkv[:, :, 1, :, 0] = -5
    heads = np.arange(case.qkv.shape[3])
    case.qkv[:, 7 * heads, 1, heads, 0] = 12
    return dataclasses.replace(case, scale=1.0)


def level(case):
    """Every score the same."""
    case.qkv[:, :, 0] = 0
    return case


@pytest.mark.parametrize("scores", [extreme, level])
@pytest.mark.parametrize("kernel", HARD, ids=named)
def test_hard_scores(emulated, kernel, scores, seed):
    error, plain = errors(emulated, kernel, scores(random_case(kernel, 3)), seed)
    print(f"relative error {error:.2e}, of the unfused graph {plain:.2e}")
    assert error <= max(plain, BOUND[kernel.number])  # all keys are rounded alike, so that no error averages out


@pytest.mark.parametrize("kernel", HARD, ids=named)
def test_a_mix_that_cancels(emulated, kernel, seed):
    """Θ' of condition 10⁴ and b' = −Θ'·1/N: of nearly level maps what remains is small, as behind BatchNorm."""
    case = random_case(kernel, 4, gain=0.4)
    left, _, right = np.linalg.svd(case.theta)
    theta = (300 * (left * np.geomspace(1, 1e-4, kernel.heads)) @ right).astype(np.float32).astype(np.float64)
    error, plain = errors(
        emulated, kernel, dataclasses.replace(case, theta=theta, bias=-theta.sum(1) / kernel.tokens), seed
    )
    print(f"relative error {error:.2e}, of the unfused graph {plain:.2e}")
    assert error < plain


@pytest.mark.parametrize("kernel", ALL, ids=named)
def test_shared_memory_is_as_the_table_says(emulated, kernel):
    assert emulated.shared_bytes(kernel) == kernel.shared_bytes
