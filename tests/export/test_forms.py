"""The form of a graph, chosen by what a compiler makes of it or by the clock: what is tried, what wins, what is kept."""

import dataclasses

import pytest

import deepvit.export.plan
from deepvit.export.engine.listing.traffic import Compiled, Kernel
from deepvit.export.forms import listing, timing
from deepvit.export.forms.form import Form, form_by_rules, graph_in, open_choices, search
from deepvit.export.forms.listing import Listing
from deepvit.export.forms.timing import TURNS, Timing, is_faster
from deepvit.export.graph.spec import spec_from_manifest
from deepvit.export.options import ExportOptions, GraphOptions, Target
from deepvit.export.pipeline import export_artifact
from deepvit.export.words import describe_artifact
from deepvit.runtime.artifact.manifest import ChooseForm, MixForm, Precision, QkvForm
from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.trt.machine import this_machine
from tests.doubles.tiny_models import pixels

FORM = Form(mix=MixForm.MATMUL_VALUE, qkv=QkvForm.FUSED, pad_tokens=False, pad_head_dim=False)
EVERYTHING = {
    "mix": tuple(MixForm),
    "pad_tokens": (False, True),
    "qkv": tuple(QkvForm),
    "pad_head_dim": (False, True),
}
BY_LISTING = GraphOptions(choose_form=ChooseForm.LISTING)
BY_TIMING = GraphOptions(choose_form=ChooseForm.TIMING, target=Target.CPU)


def test_the_rules_form_is_where_the_search_begins(tiny_loaded):
    graph = GraphOptions(pad_tokens=True)
    rules = form_by_rules(graph, tiny_loaded.module)
    assert rules == dataclasses.replace(FORM, pad_tokens=True, pad_head_dim=True)
    asked = graph_in(rules, graph).spec
    assert (asked.mix, asked.qkv, asked.pads_head_dim, asked.token_padding) == (
        graph.spec.mix,
        graph.spec.qkv,
        graph.spec.pads_head_dim,
        graph.spec.token_padding,
    )


def test_what_is_asked_for_is_not_tried_otherwise(tiny_loaded):
    assert open_choices(BY_LISTING, tiny_loaded.module) == EVERYTHING
    asked = dataclasses.replace(BY_LISTING, mix=MixForm.CONV, pad_tokens=False, pad_head_dim=True)
    assert open_choices(asked, tiny_loaded.module) == {"qkv": tuple(QkvForm)}


def _compiled_as(costs):
    """A compiler that makes of a form kernels of so many bytes in all, and so many of them."""

    def compile_kernels(graph, batch, capability, bar):
        size, count = costs(graph.content)
        kernel = Kernel(name="k", kind="gemm", bytes=size // count, onnx=())
        return Compiled(version="1.0", compute_capability=capability, batch=batch, kernels=[kernel] * count)

    return compile_kernels


@pytest.fixture
def forms_compiled(monkeypatch):
    """A function: (form → bytes, kernels) → what wins, and the record of it; nothing is compiled."""

    def choose(costs):
        monkeypatch.setattr(listing, "to_bytes", lambda form: form)
        monkeypatch.setattr(listing, "compile_kernels", _compiled_as(costs))
        tried = Listing(lambda form: form, 32, is_fixed=False)
        best = search(FORM, EVERYTHING, tried.best_of)
        return best, tried.record(best)

    return choose


def test_fewest_bytes_win_and_of_equals_fewest_kernels(forms_compiled):
    def costs(form):
        size = 6400 - 640 * form.pad_tokens + 640 * (form.mix is MixForm.CONV)
        return size, 10 - 5 * (form.qkv is QkvForm.SPLIT)

    best, record = forms_compiled(costs)
    assert best == dataclasses.replace(FORM, pad_tokens=True, qkv=QkvForm.SPLIT)
    assert record.by is ChooseForm.LISTING
    assert len(record.forms) == 6  # the rules' and five others, each compiled once
    assert record.forms[record.chosen].model_dump(exclude_none=True) == {
        **dataclasses.asdict(best), "mb_per_image": pytest.approx(5760 / 32 / 1e6, abs=1e-3), "kernels": 5,
    }  # fmt: skip


def test_a_bad_form_is_not_chosen_and_equals_leave_the_rules(forms_compiled):
    best, record = forms_compiled(lambda form: (6400 if form == FORM else 64000, 10))
    assert (best, record.chosen) == (FORM, 0)
    best, record = forms_compiled(lambda form: (6400, 10))
    assert (best, record.chosen) == (FORM, 0)


class _Session:
    """Moves the clock as its form takes."""

    def __init__(self, content, **options):
        self.form = content

    def run(self, images):
        _Session.now += _Session.seconds(self.form, next(_Session.noise))

    def close(self):
        pass


@pytest.fixture
def forms_timed(monkeypatch):
    """A function: (form, number of the run) → seconds → what wins, and the record of it; nothing is run."""

    def choose(seconds):
        monkeypatch.setattr(timing, "to_bytes", lambda form: form)
        monkeypatch.setattr(timing, "OnnxRuntimeSession", _Session)
        _Session.now, _Session.seconds, _Session.noise = 0.0, staticmethod(seconds), iter(range(10_000))
        tried = Timing(lambda form: form, pixels((8, 32, 32, 3)), clock=lambda: _Session.now)
        best = search(FORM, EVERYTHING, tried.best_of)
        return best, tried.record(best)

    return choose


def test_what_is_surely_faster_wins(forms_timed):
    best, record = forms_timed(lambda form, run: (1.0 if form.mix is MixForm.MATMUL else 1.2) + 0.01 * (run % 3))
    assert best == dataclasses.replace(FORM, mix=MixForm.MATMUL)
    assert record.forms[record.chosen].mix is MixForm.MATMUL
    assert record.forms[record.chosen].milliseconds == pytest.approx(1010, abs=11)
    assert record.batch == 8


def test_a_slow_form_and_noise_do_not_win(forms_timed):
    slow, _ = forms_timed(lambda form, run: 1.0 if form == FORM else 5.0)
    assert slow == FORM
    noisy, _ = forms_timed(lambda form, run: 1.0 + (run * 7919 % 13) / 13)
    assert noisy == FORM
    trifle, _ = forms_timed(lambda form, run: 1.0 if form == FORM else 0.99)
    assert trifle == FORM


def test_faster_is_in_nearly_all_turns_and_by_more_than_a_trifle():
    standing = [1.0] * TURNS
    assert is_faster([0.9] * TURNS, standing)
    assert is_faster([0.9] * 13 + [1.1] * 2, standing)
    assert not is_faster([0.9] * 12 + [1.1] * 3, standing)
    assert not is_faster([0.99] * TURNS, standing)


def _shown(artifact):
    return [line for line in describe_artifact(artifact, this_machine()) if isinstance(line, str)]


def test_a_timed_form_is_kept_in_the_manifest_as_the_options_that_ask_for_it(tiny_loaded, tmp_path):
    graph = dataclasses.replace(BY_TIMING, precision=Precision.FP32, qkv=QkvForm.SPLIT, pad_tokens=False)
    artifact = export_artifact(tiny_loaded, ExportOptions(graph=graph, output=tmp_path / "timed", parity_images=2))
    tried = artifact.manifest.graph.tried
    assert tried.by is ChooseForm.TIMING
    assert {form.mix for form in tried.forms} == set(MixForm)
    chosen = tried.forms[tried.chosen]
    assert artifact.manifest.graph.mix is chosen.mix
    assert any("measured" in line for line in _shown(artifact))
    assert sum(line.startswith("  chosen: ‹mix› ") for line in _shown(artifact)) == 1
    figures = {"mb_per_image", "kernels", "milliseconds"}
    asked = GraphOptions(precision=Precision.FP32, target=Target.CPU, **chosen.model_dump(exclude=figures))
    assert (
        asked.spec
        == graph_in(Form(**chosen.model_dump(exclude=figures)), graph).spec
        == spec_from_manifest(artifact.manifest)
    )


def test_the_compiler_chooses_what_moves_least(tiny_loaded, tmp_path):
    graph = dataclasses.replace(BY_LISTING, mix=MixForm.MATMUL_VALUE, qkv=QkvForm.FUSED, pad_head_dim=True)
    artifact = export_artifact(tiny_loaded, ExportOptions(graph=graph, output=tmp_path / "a", parity_images=1))
    tried = artifact.manifest.graph.tried
    assert {form.pad_tokens for form in tried.forms} == {False, True}
    costs = [(form.mb_per_image, form.kernels) for form in tried.forms]
    assert costs[tried.chosen] == min(costs)
    assert (artifact.manifest.graph.padded_tokens is not None) is tried.forms[tried.chosen].pad_tokens
    assert any("estimated, not run" in line for line in _shown(artifact))


def test_without_the_compiler_nothing_is_begun(tiny_loaded, tmp_path, monkeypatch):
    monkeypatch.setattr(deepvit.export.plan, "installed_version", lambda backend: None)
    with pytest.raises(MissingError, match="TensorRT-RTX's compiler, which needs no GPU; pip install"):
        export_artifact(tiny_loaded, ExportOptions(graph=BY_LISTING, output=tmp_path / "a"))
    assert list(tmp_path.iterdir()) == []


def test_nothing_left_to_choose_is_an_error(tiny_loaded, tmp_path):
    asked = graph_in(FORM, BY_LISTING)
    with pytest.raises(InputError, match="leave no form to choose"):
        export_artifact(tiny_loaded, ExportOptions(graph=asked, output=tmp_path / "a", parity_images=1))


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"choose_form": ChooseForm.LISTING, "target": Target.ONNX}, "compiles for engines"),
        ({"choose_form": ChooseForm.TIMING}, "give ‹target› cpu too"),
    ],
)
def test_forms_are_tried_where_they_will_run(options, fault):
    with pytest.raises(InputError, match=fault):
        GraphOptions(**options)
