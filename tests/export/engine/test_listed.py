"""What was listed of every variant: the result, its page and what the package keeps of it agree, and bounds hold."""

import json

import pytest

import deepvit.model
from benchmarks.forms.kernels import forms_of, listed_of, row_of
from benchmarks.forms.kernels_page import COMPARED, PAGE, page_of
from deepvit.export.engine.listing.listed import Listed, listed, no_gain
from deepvit.runtime.artifact.manifest import Precision
from tests.places import ROOT

RESULT = json.loads((ROOT / "benchmarks" / "results" / "kernels.json").read_text())
VARIANTS = RESULT["variants"]
MOST_KERNELS, MOST_MB = 485, 350  # of deepvit_32 in FP16
RELATIVE = 0.02  # between one version of the compiler and the next


def test_the_page_and_the_package_say_what_was_measured():
    assert PAGE.read_text() == page_of(RESULT)
    assert listed() == listed_of(VARIANTS)


def test_every_variant_was_compiled_in_every_form():
    assert list(VARIANTS) == list(deepvit.model.VARIANTS)
    for variant, forms in VARIANTS.items():
        assert list(forms) == list(forms_of(variant))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_gate_passed(variant):
    for form, row in VARIANTS[variant].items():
        assert row["breaches"] == [], form
        assert row["attributed"] == row["products"], form


def test_deepvit_32_moves_no_more_than_it_has_to():
    row = VARIANTS["deepvit_32"]["--fp16"]
    assert row["kernels"] <= MOST_KERNELS
    assert row["mb_per_image"] <= MOST_MB


@pytest.mark.parametrize("variant", [v for v in VARIANTS if deepvit.model.VARIANTS[v].is_published])
def test_nothing_is_copied_to_be_aligned_and_no_int8_is_widened(variant):
    for precision in COMPARED:
        row = VARIANTS[variant][precision]
        assert row["aligning_copies"] == 0, precision
        assert row["widened"] == 0, precision


def test_the_compiler_here_says_the_same():
    """One variant again: what was measured is of the graphs that are written today."""
    row, before = row_of("deepvit_16", forms_of("deepvit_16")["--fp16"]), VARIANTS["deepvit_16"]["--fp16"]
    assert row["kernels"] == pytest.approx(before["kernels"], rel=RELATIVE)
    assert row["mb_per_image"] == pytest.approx(before["mb_per_image"], rel=RELATIVE)
    assert row["aligning_copies"] == 0


def test_eight_bits_that_gain_nothing_are_said(monkeypatch):
    row = {Precision.FP16: 100.0, Precision.INT8: 100.5, Precision.FP8: 90.0}
    table = Listed(tensorrt_rtx="1.7", compute_capability="8.9", batch=32, mb_per_image={"deepvit_32": row})
    monkeypatch.setattr("deepvit.export.engine.listing.listed.listed", lambda: table)
    assert "deepvit_32's engine moves 100.5 MB an image through memory, 100.0 in fp16" in no_gain(
        "deepvit_32", Precision.INT8
    )
    assert no_gain("deepvit_32", Precision.FP8) is None
    assert no_gain("vit_16", Precision.INT8) is None
    assert no_gain("deepvit_32", Precision.FP16) is None
