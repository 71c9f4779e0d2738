"""INT8 and FP8 from end to end on the trained models, with planted faults."""

import json
import logging
import re
import shutil

import pytest

from deepvit.calibration.budget.budget import Budget, BudgetKind, Evidence
from deepvit.calibration.budget.sensitivity import measure_sensitivity
from deepvit.calibration.budget.switchable import SwitchableModel
from deepvit.calibration.observe.equalization import Equalization
from deepvit.calibration.observe.histogram import Method
from deepvit.calibration.observe.statistics import ImageFeed
from deepvit.calibration.options import QuantizationOptions
from deepvit.export.options import ExportOptions, GraphOptions, Target
from deepvit.export.pipeline import export_artifact
from deepvit.export.words import describe_calibration
from deepvit.runtime.artifact.manifest import Grid, Precision, Split
from deepvit.runtime.errors import InputError, OutOfBoundsError
from deepvit.runtime.opening import open_session
from tests.doubles.quantized_model import PLAIN_MAX, calibrated, plant_outliers, plant_sensitive_linear, trained

IMAGES = 128  # enough for the digits, and few enough to be decoded in this process


def export(loaded, digits, folder, *, precision=Precision.INT8, target=Target.ONNX, **quantization):
    options = ExportOptions(
        graph=GraphOptions(precision=precision, target=target),
        output=folder,
        imagenet=str(digits),
        quantization=QuantizationOptions(**{"images": IMAGES} | quantization),
    )
    return export_artifact(loaded, options)


@pytest.mark.parametrize("name", ["digits_patch", "digits_cnn"])
@pytest.mark.parametrize(
    ("precision", "target", "grid"),
    [
        (Precision.INT8, Target.AUTO, Grid.INT8),
        (Precision.INT8, Target.CPU, Grid.UINT8),
        (Precision.FP8, Target.AUTO, Grid.FP8),
    ],
)
def test_trained_models_lose_next_to_nothing(digits, tmp_path, name, precision, target, grid):
    artifact = export(trained(name), digits, tmp_path / "a", precision=precision, target=target)
    manifest = artifact.manifest
    calibration = manifest.calibration
    method = "max" if precision is Precision.FP8 else "mse"
    assert (calibration.grid, calibration.method, calibration.images) == (grid, method, IMAGES)
    assert calibration.split is Split.TRAIN
    check = calibration.check
    assert (check.images, check.split) == (596, Split.VAL)
    assert check.drop <= 0.005
    assert check.agreement >= 0.99
    assert check.drop_interval.low <= check.drop <= check.drop_interval.high
    assert manifest.graph.quantized_gemms == 6 * (4 if precision is Precision.FP8 else 6)  # q, k and v apart
    assert json.loads(artifact.read("ranges.json"))["graph_sha256"]
    assert open_session(tmp_path / "a").run


def test_planted_outliers_cost_much_by_plain_max_and_nothing_by_default(digits, tmp_path):
    loaded = trained("digits_patch")
    plant_outliers(loaded.module)
    with pytest.raises(
        OutOfBoundsError, match=r"quantisation costs too much: .*drop .*‹max_drop› 0.5 to keep"
    ) as caught:
        export(loaded, digits, tmp_path / "max", **PLAIN_MAX)
    assert float(re.search(r"drop ([\d.]+) points", str(caught.value))[1]) > 5
    assert list(tmp_path.iterdir()) == []
    accepted = export(loaded, digits, tmp_path / "max", budget=Budget(BudgetKind.MAX_DROP, 100), **PLAIN_MAX)
    assert accepted.manifest.calibration.check.drop > 0.05
    check = export(loaded, digits, tmp_path / "default").manifest.calibration.check
    assert check.drop <= 0.01
    assert check.agreement >= 0.99


def test_a_planted_sensitive_linear_is_ranked_first_and_alone_is_kept(digits, tmp_path):
    loaded = trained("digits_patch")
    planted = plant_sensitive_linear(loaded.module)
    source, made = calibrated(loaded, str(digits), images=IMAGES)
    feed = ImageFeed(made.images.source, source.preprocessing, 3)
    model = SwitchableModel(made.model, made.ranges)
    table = measure_sensitivity(
        model, [next(feed.batches())], 4, grid="int8", random_weights=False, progress=lambda done, total: None
    )
    assert table.ranking[0] == planted
    assert table.units[0].alone_kl_nats > 10 * table.units[1].alone_kl_nats
    assert table.units[0].left_out_kl_nats < 0.1 * table.all_kl_nats  # without it nearly all of the loss is gone
    budget = Budget(BudgetKind.MIN_AGREEMENT, 99.5)
    artifact = export(loaded, digits, tmp_path / "a", budget=budget)
    calibration = artifact.manifest.calibration
    assert calibration.kept == (planted,)
    assert calibration.budget == "min-agreement 99.5"
    assert calibration.check.agreement >= 0.995
    assert artifact.manifest.graph.quantized_gemms == 35
    everything = export(loaded, digits, tmp_path / "b", budget=Budget(BudgetKind.MAX_DROP, 100))
    assert everything.manifest.calibration.check.agreement < 0.995


def test_a_budget_that_cannot_be_met_names_the_best_and_leaves_nothing(digits, tmp_path, monkeypatch):
    from deepvit.export.quantized.budget_search import BudgetSearch
    from deepvit.metrics.paired import PairedCounts

    counts = PairedCounts(128, 100, both=100, lost=28, gained=0)
    monkeypatch.setattr(BudgetSearch, "_measure", lambda self, quantized: counts)
    budget = Budget(BudgetKind.MAX_DROP, 0.1)
    with pytest.raises(
        OutOfBoundsError, match=r"no choice of linears meets max-drop 0.1; the best found keeps 23 .*21.88"
    ):
        export(trained("digits_patch"), digits, tmp_path / "a", budget=budget)
    assert list(tmp_path.iterdir()) == []


def test_a_check_that_fails_sends_half_of_its_images_into_the_search(digits, tmp_path, monkeypatch):
    """The first check is made to fail: what the second one sees are the other half, and no fewer linears are kept."""
    from deepvit.export.quantized.held_out_check import HeldOutCheck

    seen = []
    real = HeldOutCheck.measure

    def measure(self, model, held_out):
        seen.append([held_out.source.name(i) for i in range(len(held_out.source))])
        record, counts = real(self, model, held_out)
        if len(seen) == 1:
            counts = counts.__class__(counts.images, 0, both=0, lost=counts.images, gained=0)
        return record, counts

    monkeypatch.setattr(HeldOutCheck, "measure", measure)
    budget = Budget(BudgetKind.MIN_AGREEMENT, 99)
    made = export(trained("digits_patch"), digits, tmp_path / "a", budget=budget).manifest.calibration
    assert [len(names) for names in seen] == [596, 298]
    assert seen[1] == seen[0][1::2]
    assert made.check.images == 298


def test_budgets_without_images_or_labels_are_refused_early(digits, tmp_path):
    loaded = trained("digits_patch")
    flat = tmp_path / "flat"
    (flat / "val").mkdir(parents=True)
    for path in sorted((digits / "val" / "3").iterdir())[:8]:
        shutil.copy(path, flat / "val")
    drop, agreement = Budget(BudgetKind.MAX_DROP, 1), Budget(BudgetKind.MIN_AGREEMENT, 50)
    with pytest.raises(InputError, match="‹max_drop› needs labelled images for 10 classes"):
        export(loaded, flat, tmp_path / "a", images=4, budget=drop)
    check = export(loaded, flat, tmp_path / "a", images=4, budget=agreement).manifest.calibration.check
    assert (check.images, check.drop) == (4, None)
    with pytest.raises(InputError, match="none are left"):
        export(loaded, flat, tmp_path / "b", images=8, budget=agreement)


def test_a_drop_is_not_searched_on_images_without_labels(digits, tmp_path):
    """Labels of val/ alone are not enough: all images would count as right."""
    (tmp_path / "data" / "train").mkdir(parents=True)
    shutil.copytree(digits / "val", tmp_path / "data" / "val")
    for path in sorted((digits / "train" / "3").iterdir())[:8]:
        shutil.copy(path, tmp_path / "data" / "train")
    with pytest.raises(InputError, match="‹max_drop› needs labelled images to search on too; give ‹min_agreement›"):
        export(
            trained("digits_patch"), tmp_path / "data", tmp_path / "a", images=8, budget=Budget(BudgetKind.MAX_DROP, 1)
        )


def test_ranges_are_used_again_and_refused_for_other_weights(digits, tmp_path):
    loaded = trained("digits_patch")
    first = export(loaded, digits, tmp_path / "a", check_images=0)
    ranges = tmp_path / "a" / "ranges.json"
    again = export(loaded, digits, tmp_path / "b", ranges=ranges, check_images=0)
    assert again.manifest.files == first.manifest.files
    plant_outliers(loaded.module)
    with pytest.raises(InputError, match="measured on the graph with SHA-256"):
        export(loaded, digits, tmp_path / "c", ranges=ranges)


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.FP8])
def test_weight_only_keeps_fp16_products_and_asks_for_no_images(tmp_path, precision, caplog):
    steps = []
    options = ExportOptions(
        graph=GraphOptions(precision=precision, target=Target.ONNX),
        output=tmp_path / "a",
        quantization=QuantizationOptions(weight_only=True),
    )
    manifest = export_artifact(trained("digits_patch"), options, lambda text: steps.append(text) or (lambda *_: None))
    calibration = manifest.manifest.calibration
    assert calibration.weight_only
    assert {calibration.method, calibration.images, calibration.split, calibration.ranges_sha256} == {None}
    assert manifest.manifest.graph.quantized_gemms is None
    assert manifest.manifest.parity[-1].sqnr_db > (45 if precision is Precision.INT8 else 35)
    assert set(manifest.manifest.files) == {"model.onnx"}
    assert not [step for step in steps if "calibrat" in step or "rescal" in step]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert next(iter(describe_calibration(calibration))) == f"weights alone in {precision.value}, not calibrated"


def test_weight_only_is_checked_and_searched_on_images_where_there_are_some(digits, tmp_path):
    loaded, folder = trained("digits_patch"), tmp_path / "a"
    checked = export(loaded, digits, folder, images=None, weight_only=True).manifest.calibration
    assert (checked.images, checked.check.images, checked.check.agreement >= 0.995) == (None, 596, True)
    within = Budget(BudgetKind.MIN_AGREEMENT, 99)
    searched = export(loaded, digits, folder, weight_only=True, budget=within).manifest.calibration
    assert (searched.images, searched.kept, searched.check.images) == (None, (), 596)


def test_weight_only_takes_no_option_of_calibration(digits, tmp_path):
    for options in ({"method": Method("mse")}, {"equalization": Equalization.OFF}, {"ranges": tmp_path / "r.json"}):
        with pytest.raises(InputError, match="‹weight_only› calibrates nothing; leave out"):
            QuantizationOptions(weight_only=True, **options)
    for options in ({"images": 64}, {"seed": 3}, {"skip_corrupt": True}):
        with pytest.raises(InputError, match="without a budget searches nothing; leave out"):
            export(trained("digits_patch"), digits, tmp_path / "a", **{"images": None, "weight_only": True} | options)


def test_a_budget_says_whether_its_images_can_show_it(digits, tmp_path):
    loaded, drop = trained("digits_patch"), Budget(BudgetKind.MAX_DROP, 0.1)
    calibration = export(loaded, digits, tmp_path / "a", budget=drop, check_images=50).manifest.calibration
    assert calibration.check.drop_interval.high > 0.07
    assert (calibration.budget_proof.is_shown, calibration.budget_proof.is_demanded) == (False, False)
    assert calibration.budget_proof.images_needed > 1000
    said = list(describe_calibration(calibration))
    line = next(text for text in said if "point estimate" in text)
    assert re.fullmatch(
        r"budget max-drop 0.1: met at the point estimate; the interval reaches 7\.\d\d points: 50 images cannot show "
        r"0.1, ‹check_images› \d\d00 would at this rate",
        line,
    )
    wide = Budget(BudgetKind.MIN_AGREEMENT, 90)
    shown = export(loaded, digits, tmp_path / "b", budget=wide, evidence=Evidence.INTERVAL).manifest.calibration
    assert (shown.budget_proof.is_shown, shown.budget_proof.is_demanded) == (True, True)
    assert "budget min-agreement 90: met, as is the interval, which reaches 9" in "\n".join(describe_calibration(shown))


def test_confident_demands_the_interval(digits, tmp_path):
    loaded = trained("digits_patch")
    with pytest.raises(
        OutOfBoundsError, match=r"no choice of linears shows max-drop 0.1; .* cannot show 0.1, ‹check_images› \d+ would"
    ):
        export(
            loaded, digits, tmp_path / "a", budget=Budget(BudgetKind.MAX_DROP, 0.1), check_images=50,
            evidence=Evidence.INTERVAL,
        )  # fmt: skip
    with pytest.raises(InputError, match="596 held-out images cannot show it even where none changes its class; 3838 "):
        export(
            loaded, digits, tmp_path / "a", budget=Budget(BudgetKind.MIN_AGREEMENT, 99.9), evidence=Evidence.INTERVAL
        )
    with pytest.raises(InputError, match="‹confident› is about a budget"):
        QuantizationOptions(evidence=Evidence.INTERVAL)
    assert list(tmp_path.iterdir()) == []
