"""Programs that measure, and what they found; imported as benchmarks.…, whatever else of that name is installed."""
