"""A section of a check of a GPU that fails in the way that the environment names."""

import math
import os
import subprocess
import time

from benchmarks.gpu_check.findings import SkippedError


def run(findings, place):
    findings.check("before", True, 1.0, "at most 1")
    how = os.environ["PLANTED"]
    if how == "raise":
        raise ValueError("a planted fault")
    if how == "abort":
        os.abort()
    if how == "hang":
        time.sleep(600)
    if how == "orphan":
        findings.note("started", subprocess.Popen(["sleep", "600"]).pid)
        os._exit(1)
    if how == "skip":
        raise SkippedError("nothing to do here")
    if how == "outside":
        findings.at_most("distance", math.nan, 1.0, "m")
    if how == "layers":
        findings.layers("an engine", '{"Layers": [1]}')
        findings.layers("another", "no JSON")
