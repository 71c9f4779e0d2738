"""Fused re-attention on a GPU: what it is expected to take, whether it is right, how long it takes."""
