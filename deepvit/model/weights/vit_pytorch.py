"""DeepViT as the package `vit-pytorch` writes it: recognised by its names, told from its shapes, under ours.

Source: github.com/lucidrains/vit-pytorch, vit_pytorch/deepvit.py, versions 0.10 to 1.26. Its re-attention is
LayerNorm over heads of softmax(q·kᵀ/√d) mixed by `reattn_weights` (from, to); its linears for q, k and v have no bias;
its LayerNorms' ε is 1e-5; its heads' width is free. Until 1.1 blocks were wrapped, `0.fn.fn.to_qkv`; until 1.0 a patch
was embedded by a linear alone, since then with a LayerNorm before and behind it. What the weights do not say is what is
pooled, and how images are prepared.
"""

import dataclasses
import math
import re
from collections.abc import Mapping

import torch

from deepvit.runtime.errors import InputError, first_of

from ..architecture import Architecture, MixNorm, Pooling, Stem
from ..row import Variant

CHANNELS = 3
NORM_EPS = 1e-5
NAMES_SHOWN = 8
LAYER = r"transformer\.layers\.(\d+)"
# Its name → ours; \1 is the block.
NAMES = {
    LAYER + r"\.0\.(?:fn\.)?norm\.(weight|bias)": r"blocks.\1.norm1.\2",
    LAYER + r"\.0\.(?:fn\.fn\.)?to_qkv\.weight": r"blocks.\1.attn.qkv.weight",
    LAYER + r"\.0\.(?:fn\.fn\.)?reattn_weights": r"blocks.\1.attn.reatten_matrix.weight",
    LAYER + r"\.0\.(?:fn\.fn\.)?reattn_norm\.1\.(weight|bias)": r"blocks.\1.attn.var_norm.\2",
    LAYER + r"\.0\.(?:fn\.fn\.)?to_out\.0\.(weight|bias)": r"blocks.\1.attn.proj.\2",
    r"pos_embedding": "pos_embed",
    r"cls_token": "cls_token",
    r"mlp_head\.0\.(weight|bias)": r"norm.\1",
    r"mlp_head\.1\.(weight|bias)": r"head.\1",
}
WRAPPED = {
    LAYER + r"\.1\.fn\.norm\.(weight|bias)": r"blocks.\1.norm2.\2",
    LAYER + r"\.1\.fn\.fn\.net\.0\.(weight|bias)": r"blocks.\1.mlp.fc1.\2",
    LAYER + r"\.1\.fn\.fn\.net\.3\.(weight|bias)": r"blocks.\1.mlp.fc2.\2",
}
PLAIN = {
    LAYER + r"\.1\.net\.0\.(weight|bias)": r"blocks.\1.norm2.\2",
    LAYER + r"\.1\.net\.1\.(weight|bias)": r"blocks.\1.mlp.fc1.\2",
    LAYER + r"\.1\.net\.4\.(weight|bias)": r"blocks.\1.mlp.fc2.\2",
}
LINEAR_PATCHES = {r"to_patch_embedding\.1\.(weight|bias)": r"patch_embed.proj.\1"}
NORMED_PATCHES = {
    r"to_patch_embedding\.1\.(weight|bias)": r"patch_embed.norm_in.\1",
    r"to_patch_embedding\.2\.(weight|bias)": r"patch_embed.proj.\1",
    r"to_patch_embedding\.3\.(weight|bias)": r"patch_embed.norm_out.\1",
}
MIX, PATCHES, POSITIONS, QKV = ("reattn_weights", "to_patch_embedding", "pos_embedding", "to_qkv.weight")
State = Mapping[str, torch.Tensor]


def is_vit_pytorch(state: State) -> bool:
    """Return whether a state dict has the names of a transformer of `vit-pytorch`."""
    return POSITIONS in state and any(name.startswith("transformer.layers.") for name in state)


def read_vit_pytorch(
    row: Variant, state: State, name: str, pooling: Pooling
) -> tuple[Variant, dict[str, torch.Tensor]]:
    """Return the variant that a state dict is of, and its weights under our names.

    Args:
        row: What `vit-pytorch`'s weights do not say: the variant's name and preprocessing.
        state: Of `vit-pytorch`'s DeepViT.
        name: What errors call it.
        pooling: What is classified.

    Raises:
        InputError: It is no such DeepViT, or of a layout that is not known, with the names that are not.
    """
    if not is_vit_pytorch(state):
        raise InputError(f"{name} is no DeepViT of vit-pytorch: it has no {POSITIONS} and no transformer.layers")
    if not any(each.endswith(MIX) for each in state):
        raise InputError(f"{name} is of vit-pytorch, but no DeepViT: it has no {MIX}")
    renamed = _renamed(state, name)
    architecture = _architecture(renamed, name, pooling)
    renamed = _converted(renamed, architecture)
    side = _grid(renamed, name) * architecture.patch_size
    classes = _shape(renamed, "head.weight", 2, name)[0]
    parameters = sum(tensor.numel() for tensor in state.values())
    return (
        dataclasses.replace(row, architecture=architecture, img_size=side, num_classes=classes, parameters=parameters),
        renamed,
    )


def _renamed(state: State, name: str) -> dict[str, torch.Tensor]:
    is_wrapped = any(".fn." in each for each in state)
    first = state.get(f"{PATCHES}.1.weight")
    is_linear = first is not None and first.ndim == 2
    table = NAMES | (WRAPPED if is_wrapped else PLAIN) | (LINEAR_PATCHES if is_linear else NORMED_PATCHES)
    renamed, unknown = {}, []
    for each, tensor in state.items():
        for theirs, ours in table.items():
            if found := re.fullmatch(theirs, each):
                renamed[found.expand(ours)] = tensor
                break
        else:
            unknown.append(each)
    if unknown:
        raise InputError(
            f"{name} is of vit-pytorch in a layout that is not known: {len(unknown)} unexpected: "
            f"{first_of(sorted(unknown), NAMES_SHOWN)}"
        )
    return renamed


def _shape(state: State, key: str, dimensions: int, name: str) -> torch.Size:
    tensor = state.get(key)
    if tensor is None or tensor.ndim != dimensions or 0 in tensor.shape:
        got = "nothing" if tensor is None else "×".join(map(str, tensor.shape)) or "a number"
        raise InputError(f"{name} is of vit-pytorch in a layout that is not known: as {key} it has {got}")
    return tensor.shape


def _architecture(state: State, name: str, pooling: Pooling) -> Architecture:
    """Return what the shapes say; what does not agree with it is found when the weights are loaded."""
    heads, _ = _shape(state, "blocks.0.attn.reatten_matrix.weight", 2, name)
    rows, dim = _shape(state, "blocks.0.attn.qkv.weight", 2, name)
    mlp_dim, _ = _shape(state, "blocks.0.mlp.fc1.weight", 2, name)
    _, pixels = _shape(state, "patch_embed.proj.weight", 2, name)
    side = math.isqrt(pixels // CHANNELS)
    if side * side * CHANNELS != pixels:
        raise InputError(f"{name} has patches of {pixels} values, which are no square of {CHANNELS} channels")
    if rows % (3 * heads):
        raise InputError(f"{name} has {rows} rows for q, k and v, which {heads} heads do not share equally")
    depth = len({each.split(".")[1] for each in state if each.startswith("blocks.")})
    return Architecture(
        depth=depth,
        embed_dim=dim,
        reattention_blocks=depth,
        stem=Stem.NORMED if "patch_embed.norm_in.weight" in state else Stem.PATCH,
        num_heads=heads,
        mlp_ratio=mlp_dim / dim,
        patch_size=side,
        mix_norm=MixNorm.LAYER,
        head_width=rows // (3 * heads),
        norm_eps=NORM_EPS,
        pooling=pooling,
    )


def _grid(state: State, name: str) -> int:
    _, tokens, _ = _shape(state, "pos_embed", 3, name)
    side = math.isqrt(tokens - 1)
    if not side or side * side != tokens - 1:
        raise InputError(f"{name} has positions for {tokens - 1} patches, which are no square image's")
    return side


def _converted(state: State, architecture: Architecture) -> dict[str, torch.Tensor]:
    """Return weights in our shapes: Θ (to, from, 1, 1), q, k and v with a bias of 0, patches by a convolution."""
    converted = dict(state)
    for key, tensor in state.items():
        if key.endswith("reatten_matrix.weight") and tensor.ndim == 2:
            converted[key] = tensor.T[:, :, None, None].contiguous()
            converted[key.removesuffix("weight") + "bias"] = tensor.new_zeros(tensor.shape[1])
        elif key.endswith("qkv.weight"):
            converted[key.removesuffix("weight") + "bias"] = tensor.new_zeros(tensor.shape[0])
    if architecture.stem is Stem.PATCH:
        size = architecture.patch_size
        patches = state["patch_embed.proj.weight"].reshape(-1, size, size, CHANNELS)
        converted["patch_embed.proj.weight"] = patches.permute(0, 3, 1, 2).contiguous()
    return converted
