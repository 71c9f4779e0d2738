"""Faults planted by the thousand, and what became of them: `python -m benchmarks.torture`."""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # read when the libraries are loaded
    os.environ.setdefault(variable, "1")  # trials are forked, and threads do not survive that
