"""The Python models of the repository. They are copied into it as they are and run in Triton's Python backend."""
