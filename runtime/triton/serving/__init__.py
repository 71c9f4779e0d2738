"""The Python models of a Triton repository, and what they share; packaged with the runtime that they import."""
