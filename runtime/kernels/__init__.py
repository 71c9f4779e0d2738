"""Fused re-attention in CUDA C++: the sources, which kernel serves which shape, and how they are compiled."""
