"""Whole networks in FP16, their re-attention as separate operators or as one kernel: the same answers, and how fast."""

import copy
import functools
import gc
from typing import Any

import torch

from deepvit.export.graph.padding import TokenPadding
from deepvit.metrics.bounds import PRECISION_BOUNDS
from deepvit.model.fused.module import FusedReAttention, fuse_reattention
from deepvit.model.load import load_model
from deepvit.runtime.artifact.manifest import Precision
from deepvit.runtime.kernels.table import Kernel, Number

from ..findings import Findings
from ..places import Place
from ..sections.numerics import graph_of
from ..timing import times
from .cases import Case, ReAttention
from .names import IMAGES, MODEL_BATCHES, TRITON, UNFUSED, by_rows, model_named
from .prediction import Prediction

SECONDS = 10.0  # about, of a batch
CHECKED = 4  # images
CALLS = 4  # of a network, at once
Networks = dict[str, torch.nn.Module]  # in evaluation mode and float64, by what computes their re-attention


class ByKernel(torch.nn.Module):
    """Fused re-attention by a compiled kernel, tokens (B, N, C) → (B, N, C); Θ' and b' are float32."""

    def __init__(self, fused: FusedReAttention, attention: ReAttention, kernel: Kernel) -> None:
        super().__init__()
        self.qkv, self.proj, self.heads, self.scale = fused.qkv, fused.proj, fused.num_heads, fused.scale
        self._attend = functools.partial(attention.attend, kernel)
        self._mix = (fused.theta.detach(), fused.bias.detach())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))
        theta, bias = (each.to(x.device, torch.float32).contiguous() for each in self._mix)
        self._mix = theta, bias
        return self.proj(self._attend(Case(qkv=qkv, theta=theta, bias=bias, scale=self.scale, tokens=x.shape[1])))


def with_kernels(variant: str, attention: ReAttention) -> Networks:
    """Return a network for every compiled kernel that serves the variant."""
    fused = fuse_reattention(load_model(variant).module)
    found: Networks = {}
    for kernel in attention.kernels:
        network = copy.deepcopy(fused)
        mixing: list[Any] = [block for block in network.blocks if isinstance(block.attn, FusedReAttention)]
        sizes = (network.architecture.num_heads, network.architecture.head_dim, network.pos_embed.shape[1])
        if kernel.number is Number.FP16 and (kernel.heads, kernel.width, kernel.tokens) == sizes:
            for block in mixing:
                block.attn = ByKernel(block.attn, attention, kernel)
            found[by_rows(kernel)] = network
    return found


def with_operator(variant: str) -> Networks:
    return {TRITON: fuse_reattention(load_model(variant).module)}


def unfused(variant: str) -> Networks:
    """Return the graph's module: folded, its tokens padded, as TensorRT would be given it."""
    return {UNFUSED: graph_of(variant, TokenPadding.ALIGNED)[0]}


def compiled(networks: Networks) -> Networks:
    for network in networks.values():
        network.compile(dynamic=False)
    return {f"{name.removesuffix(', eager')}, torch.compile": network for name, network in networks.items()}


def time_models(
    findings: Findings,
    place: Place,
    networks: Networks,
    predictions: dict[str, Prediction],
    seconds: float = SECONDS,
) -> None:
    """Hold every network in FP16 against the unfused one in float64, then time them in turns, at every batch."""
    variant, batches = place.variants[0], (1,) if place.is_fake else MODEL_BATCHES
    loaded = load_model(variant).module
    shape = (loaded.in_chans, loaded.img_size, loaded.img_size)
    images = torch.randn(max(batches), *shape, generator=torch.Generator().manual_seed(0)).to(place.device)
    exact = unfused(variant)[UNFUSED].to(place.device)
    expected = exact(images[:CHECKED].double()).cpu().numpy()
    del exact
    halves = {name: network.to(place.device).half() for name, network in networks.items()}
    for batch in batches:
        if not findings.has_time(model_named(variant, batch, "timed"), seconds):
            return
        if batch == batches[0]:
            for what, network in halves.items():
                name = f"{variant}, random weights, FP16, {what}: against float64"
                got = network(images[:CHECKED].half()).double().cpu().numpy()
                findings.logits(name, got, expected, PRECISION_BOUNDS[Precision.FP16], "PRECISION_BOUNDS[FP16]")
        own = images[:batch].half()
        found = times(place, {name: functools.partial(network, own) for name, network in halves.items()}, CALLS)
        for what, time in found.items():
            name = model_named(variant, batch, what)
            predicted = predictions[name].expected if name in predictions else None
            speed = None if time is None else 1e3 * batch / time.median_ms
            spread = None if time is None or speed is None else speed * time.spread_ms / time.median_ms
            findings.figure(name, speed, IMAGES, spread=spread, predicted=predicted)
        gc.collect()
