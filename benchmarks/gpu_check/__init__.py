"""Everything that can be proved on the GPU at hand, in one run: `python -m benchmarks.gpu_check`."""
