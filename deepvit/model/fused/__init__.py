"""Re-attention as one operator of PyTorch, `deepvit::reattention`, which a GPU runs as one kernel."""
