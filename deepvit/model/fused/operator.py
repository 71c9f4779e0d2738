"""The operator `deepvit::reattention` of PyTorch: one kernel on a CUDA GPU in FP16 and BF16, a formula elsewhere.

torch.compile keeps it whole. It has no gradient.
"""

import torch

from .limits import has_kernel


def formula(qkv: torch.Tensor, theta: torch.Tensor, bias: torch.Tensor, scale: float) -> torch.Tensor:
    """Return O_g = (Σ_h Θ'_gh·softmax_h(scale·q_h·k_hᵀ) + b'_g)·v_g, (B, N, H·d) in the type of `qkv`.

    Args:
        qkv: (B, N, 3, H, d), as the qkv linear gives it.
        theta: Θ' (H, H), the mix with its norm folded in.
        bias: b' (H,).
        scale: Of the scores.
    """
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    maps = torch.softmax((q * scale) @ k.transpose(-2, -1), dim=-1)
    mixed = torch.einsum("gh,bhqk->bgqk", theta.to(maps.dtype), maps) + bias.to(maps.dtype)[:, None, None]
    return (mixed @ v).transpose(1, 2).flatten(2).contiguous()


reattention = torch.library.custom_op("deepvit::reattention", formula, mutates_args=())


@reattention.register_fake
def _like(qkv: torch.Tensor, theta: torch.Tensor, bias: torch.Tensor, scale: float) -> torch.Tensor:  # noqa: ARG001
    batch, tokens, _, heads, width = qkv.shape
    return qkv.new_empty(batch, tokens, heads * width)


@reattention.register_kernel("cuda")
def _on_a_gpu(qkv: torch.Tensor, theta: torch.Tensor, bias: torch.Tensor, scale: float) -> torch.Tensor:
    if not has_kernel(qkv):
        return formula(qkv, theta, bias, scale)
    from .triton_kernel import reattention_by_triton

    return reattention_by_triton(qkv, theta, bias, scale)
