"""What a stage of the parity ladder must hold, and that what does not is refused."""

import numpy as np
import pytest

from deepvit.metrics.bounds import (
    ENGINE_BOUNDS,
    FLOAT32_BOUND,
    FOLD_BOUND,
    FP16_MAX,
    FP32_BOUND,
    PRECISION_BOUNDS,
    bound_of,
    breaches,
    prove,
    require,
)
from deepvit.runtime.artifact.manifest import ParityStage, Precision
from deepvit.runtime.errors import OutOfBoundsError


def _stage(**changes):
    stage = ParityStage(stage="s", against="a", max_abs=0, sqnr_db=90, top1_agreement=1, images=4)
    return stage.model_copy(update=changes)


def test_the_ladder_refuses_what_is_outside_its_bound():
    fp16 = PRECISION_BOUNDS[Precision.FP16]
    assert require(_stage(), fp16)
    assert require(_stage(top1_agreement=0.5, top1_enforced=False), fp16)
    for bad in ({"sqnr_db": 39.0}, {"top1_agreement": 0.99}, {"sqnr_db": float("nan")}):
        with pytest.raises(OutOfBoundsError, match="no artifact was written"):
            require(_stage(**bad), fp16)
    with pytest.raises(OutOfBoundsError, match="max abs 2e-09"):
        require(_stage(max_abs=2e-9), FOLD_BOUND)
    with pytest.raises(OutOfBoundsError):
        require(_stage(max_abs=float("nan")), FOLD_BOUND)


def test_every_breach_is_told():
    assert breaches(_stage(), FP32_BOUND) == []
    assert breaches(_stage(sqnr_db=None), FLOAT32_BOUND) == []  # no difference at all
    found = breaches(_stage(max_abs=1.0, top1_agreement=0.5), FP32_BOUND)
    assert found == ["max abs 1, at most 0.0001", "top-1 agreement 50.00%, at least 100.0%"]


def test_a_rung_is_proved_by_its_logits():
    expected = np.random.default_rng(0).standard_normal((8, 5))
    stage = prove("folded", "module", expected + 1e-12, expected, FOLD_BOUND)
    assert (stage.stage, stage.against, stage.images, stage.top1_agreement) == ("folded", "module", 8, 1.0)
    with pytest.raises(OutOfBoundsError, match="parity of folded against module on 8 images: max abs 1e-05"):
        prove("folded", "module", expected + 1e-5, expected, FOLD_BOUND)


def test_every_reduced_precision_has_a_bound_and_an_engine_of_it_no_looser_one():
    assert set(PRECISION_BOUNDS) == set(ENGINE_BOUNDS) == set(Precision) - {Precision.FP32}
    for precision, bound in PRECISION_BOUNDS.items():
        assert ENGINE_BOUNDS[precision].sqnr_db >= bound.sqnr_db


def test_the_looser_bound_of_two_precisions_holds():
    assert bound_of(Precision.FP32, Precision.FP32, FLOAT32_BOUND) is FLOAT32_BOUND
    assert bound_of(Precision.FP16, Precision.FP32, FLOAT32_BOUND).sqnr_db == 40
    assert (
        bound_of(Precision.FP16, Precision.INT8, FLOAT32_BOUND).sqnr_db
        == bound_of(Precision.INT8, Precision.FP32, FLOAT32_BOUND).sqnr_db
        == 10
    )
    assert bound_of(None, Precision.FP32, FLOAT32_BOUND).sqnr_db is None


def test_the_end_of_fp16_is_numpys():
    assert np.finfo(np.float16).max == FP16_MAX
