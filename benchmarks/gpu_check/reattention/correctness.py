"""Whether the compiled kernels are right on the GPU: against float64, the same each time, and beyond 2³¹ numbers."""

import dataclasses

import torch

from deepvit.model.fused.operator import reattention
from deepvit.runtime.kernels.table import Kernel, Number

from ..findings import Findings
from ..places import Place
from .cases import Case, ReAttention, attended, random_case, relative_error
from .names import SHAPES, TRITON, Shape, by_rows, shape_of

BOUND = {Number.FP16: 5e-4, Number.BF16: 8 * 5e-4}  # tests/runtime/kernels/test_accuracy.py says why
SCALED = 1.5  # times that where q is scaled, and rounded once more
BATCH, AGAIN = 3, 20
SAME_BATCH = 32  # enough blocks for several waves
NUMBERS = 1 << 31  # of qkv: their places no longer fit into 32 bits
AGAINST = "against float64"


def check_kernels(findings: Findings, place: Place, attention: ReAttention) -> None:
    for kernel in attention.kernels:
        shape = shape_of(kernel)
        name = shape.named(BATCH, by_rows(kernel))
        for hard, case in _cases(shape, place.device).items():
            expected = attended(case, torch.float64)
            out = torch.full_like(expected, float("nan"), dtype=case.qkv.dtype)  # where nothing is written
            error = relative_error(attention.attend(kernel, case, out), expected)
            most = BOUND[kernel.number] * (1 if case.channels is None else SCALED)
            findings.at_most(f"{name}, {hard}: {AGAINST}", error, most, "relative")
            plain = relative_error(attended(case), expected)
            findings.figure(f"{name}, {hard}: the unfused {AGAINST}", plain, "relative")
        _the_same_again(findings, place, attention, kernel)


def _cases(shape: Shape, device: str) -> dict[str, Case]:
    """Return random scores, with channels for one query too, and scores of −25 but for one of 60.

    Keys and values of padding are NaN.
    """
    case = random_case(shape, device, batch=BATCH)
    extreme = dataclasses.replace(case, qkv=case.qkv.clone(), scale=1.0)
    extreme.qkv[:, :, :2] = 0
    extreme.qkv[:, :, 0, :, 0] = 5
    extreme.qkv[:, :, 1, :, 0] = -5
    heads = torch.arange(shape.heads, device=device)
    extreme.qkv[:, heads, 1, heads, 0] = 12
    for each in (case, extreme):
        each.qkv[:, shape.tokens :, 1:] = float("nan")
    random = torch.Generator(device).manual_seed(1)
    channels = torch.rand((3, shape.heads, shape.width), generator=random, device=device) + 0.5
    scaled = dataclasses.replace(case, channels=channels, queries=1)
    return {"random scores": case, "extreme scores": extreme, "channels and one query": scaled}


def _the_same_again(findings: Findings, place: Place, attention: ReAttention, kernel: Kernel) -> None:
    """A result that changes from run to run would be a race."""
    case = random_case(shape_of(kernel), place.device, batch=1 if place.is_fake else SAME_BATCH)
    first = attention.attend(kernel, case)
    others = sum(not torch.equal(attention.attend(kernel, case), first) for _ in range(AGAIN))
    name = shape_of(kernel).named(len(case.qkv), by_rows(kernel))
    findings.equal(f"{name}: of {AGAIN} runs those that gave another result", others, 0, "runs")


def check_many_images(findings: Findings, place: Place, attention: ReAttention) -> None:
    """The last of so many images that numbers are counted in 64 bits."""
    kernel = attention.kernels[0]
    one = random_case(shape_of(kernel), place.device, batch=1)
    batch = 2 if place.is_fake else NUMBERS // one.qkv.numel() + 2
    needed = batch * one.qkv.nbytes * 4 // 3
    name = f"{shape_of(kernel).named(batch, by_rows(kernel))}: the last image as by itself"
    if not place.is_fake and torch.cuda.mem_get_info()[0] < needed * 1.1:
        findings.skip(name, f"the GPU has not {needed / 1e9:.1f} GB free")
        return
    many = dataclasses.replace(one, qkv=one.qkv.new_zeros(batch, *one.qkv.shape[1:]))
    many.qkv[-1:] = one.qkv
    last = attention.attend(kernel, many)[-1:]
    findings.equal(name, torch.equal(last, attention.attend(kernel, one)), True)


def check_operator(findings: Findings, place: Place) -> None:
    """PyTorch's operator, whose tokens are all keys."""
    if place.is_fake:
        findings.skip(TRITON, "on a CPU the operator is a formula")
        return
    for shape in SHAPES:
        if findings.has_time(shape.named(BATCH, TRITON), 10):
            case = _unpadded(random_case(shape, place.device, batch=BATCH))
            found = reattention(case.qkv, case.theta, case.bias, case.scale)
            error = relative_error(found, attended(case, torch.float64))
            findings.at_most(f"{shape.named(BATCH, TRITON)}: {AGAINST}", error, BOUND[shape.number], "relative")


def _unpadded(case: Case) -> Case:
    return dataclasses.replace(case, qkv=case.qkv[:, : case.tokens].contiguous())
