"""One form in one engine: right, wrong without a word, or refused."""

import textwrap
from typing import Any

import numpy as np

from benchmarks.forms.engines import REFUSALS, Engine, NotRunError, Subject, declared
from deepvit.metrics.bounds import ENGINE_BOUNDS, FLOAT32_BOUND, Bound, breaches
from deepvit.metrics.distance import compare_logits
from deepvit.runtime.artifact.manifest import Precision
from deepvit.runtime.ort.demands import contents_of
from deepvit.runtime.session.tensors import Logits

# An engine against the graph that it was given; of two precisions the looser holds.
BOUNDS = ENGINE_BOUNDS | {Precision.FP32: FLOAT32_BOUND}


def bound_for(form: Precision, engine: Engine) -> Bound:
    """Return what an engine's answer must hold against the form's own."""
    kinds = {form, engine.arithmetic or form}
    return min((BOUNDS[kind] for kind in kinds), key=lambda bound: bound.sqnr_db or 0.0)


def judge(got: Logits, expected: Logits, bound: Bound) -> dict[str, Any]:
    """Return a cell: right or wrong, the SQNR in dB (None: no difference) and the share of images of the same class."""
    if got.shape != expected.shape or not np.isfinite(got).all():
        return {"verdict": "wrong", "why": f"logits {got.shape}, expected finite ones {expected.shape}"}
    stage = compare_logits("engine", "form", got, expected)
    faults = breaches(stage, bound)
    found = {"verdict": "wrong" if faults else "right", "sqnr_db": stage.sqnr_db, "agreement": stage.top1_agreement}
    return found | ({"why": "; ".join(faults)} if faults else {})


def cell_of(engine: Engine, subject: Subject, expected: Logits) -> dict[str, Any]:
    """Run a form in an engine and return what came of it."""
    try:
        got = engine.run(subject)
    except NotRunError as error:
        return {"verdict": "not run", "why": str(error)}
    except REFUSALS as error:
        return {"verdict": "refused", "why": _in_a_line(error, subject)}
    return judge(got, expected, bound_for(subject.manifest.precision, engine))


def _in_a_line(error: BaseException, subject: Subject) -> str:
    said = str(error).replace(f"{subject.folder.parent}/", "").replace("‹", "--").replace("›", "")
    return textwrap.shorten(said, 160, placeholder=" …") or type(error).__name__


def row_of(subject: Subject, trained: Logits, engines: dict[str, Engine]) -> dict[str, Any]:
    """Return a form's row; `trained` is what PyTorch answers in float32."""
    expected = declared(subject)
    stage = compare_logits("form", "PyTorch", expected, trained)
    return {
        "against_pytorch": {"sqnr_db": stage.sqnr_db, "agreement": stage.top1_agreement},
        "packaged_level": packaged_level(subject.content),
        "cells": {name: cell_of(engine, subject, expected) for name, engine in engines.items()},
    }


def packaged_level(content: bytes) -> str | None:
    """Return the level that `package` tells Triton's ONNX Runtime; None where it leaves that out."""
    demands = contents_of(content).demands
    return demands.without_entries.name if demands.runs else None
