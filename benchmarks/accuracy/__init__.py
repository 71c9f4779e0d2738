"""What eight bits cost a trained model, in every way that we know: `python -m benchmarks.accuracy`."""
