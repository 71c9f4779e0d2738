"""Fused re-attention: one operator of ours in place of all between qkv and projection."""
