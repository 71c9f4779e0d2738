"""What a graph is proved by: its answers, its batch sizes, the range of its activations."""
