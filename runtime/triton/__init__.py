"""A Triton Inference Server model repository made of an artifact."""
