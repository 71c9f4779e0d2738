"""What the kernel in the Triton language is made for."""

import torch

MOST_HEADS, MOST_WIDTH = 16, 64  # wider heads would need more shared memory than a GPU has


def has_kernel(qkv: torch.Tensor) -> bool:
    """Return whether a GPU computes it by one kernel."""
    heads, width = qkv.shape[3:]
    return qkv.dtype in (torch.float16, torch.bfloat16) and heads <= MOST_HEADS and width <= MOST_WIDTH
