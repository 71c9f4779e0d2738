"""Every form of a model in every engine: `python -m benchmarks.forms`."""
