"""Rewrites of the PyTorch model that leave its function as it is."""
