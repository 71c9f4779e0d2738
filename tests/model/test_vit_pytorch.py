"""vit-pytorch's DeepViT: recognised, loaded and folded as that package computes it; what it is not is refused by name."""

import dataclasses

import pytest
import torch
from safetensors.torch import save_file

from deepvit.measure.options import WeightOptions
from deepvit.model.architecture import Pooling, Stem
from deepvit.model.attention import HeadRms
from deepvit.model.load import load_model
from deepvit.model.rewrites.fold import ALWAYS, FOLDS, fold
from deepvit.model.rewrites.linears import fold_value_bias
from deepvit.model.rewrites.norms import LARGEST_MIXED, fold_head_gain, fold_mix_norm
from deepvit.model.vit_pytorch import VIT_PYTORCH, Unsaid
from deepvit.runtime.errors import InputError
from tests.model.vit_pytorch_models import CONFIGS, Config, model_of, state_of

BOUND = 1e-12  # float64 over a few blocks
NAME = VIT_PYTORCH.name


def _images(config, count=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn((count, 3, config.image_size, config.image_size), generator=generator, dtype=torch.float64)


def _load(path, state, pool="cls", **said):
    save_file(state, path / "w.safetensors")
    return load_model(NAME, checkpoint=path / "w.safetensors", unsaid=Unsaid(pooling=Pooling(pool), **said))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))
def test_it_is_the_function_of_vit_pytorch_loaded_and_folded(tmp_path, config):
    theirs = model_of(config)
    loaded = _load(tmp_path, state_of(theirs, config), config.pool)
    found = loaded.variant.architecture
    assert (found.depth, found.embed_dim, found.num_heads, found.head_dim, found.mlp_dim) == (
        config.depth, config.dim, config.heads, config.dim_head, config.mlp_dim
    )  # fmt: skip
    assert (found.patch_size, loaded.module.img_size, loaded.module.num_classes) == (
        config.patch_size, config.image_size, config.num_classes
    )  # fmt: skip
    assert found.stem is (Stem.PATCH if config.is_old else Stem.NORMED)
    assert loaded.variant.parameters == sum(parameter.numel() for parameter in theirs.parameters())
    images = _images(config)
    with torch.inference_mode():
        expected = theirs.double()(images)
        assert (loaded.module.double()(images) - expected).abs().max() <= BOUND
        for folds in (ALWAYS, [*ALWAYS, fold_head_gain], [*FOLDS, fold_head_gain]):
            folded, reports = fold(loaded.module, folds)
            assert (folded(images) - expected).abs().max() <= BOUND
        assert {r.name: r.applied for r in reports} | {"mix_norm": config.depth, "head_gain": config.depth} == {
            r.name: r.applied for r in reports
        }
        assert fold_mix_norm(folded).applied == fold_head_gain(folded).applied == fold_value_bias(folded).applied == 0


def test_a_fold_that_forgets_the_factor_of_epsilon_is_seen(tmp_path):
    config = CONFIGS["plain"]
    loaded = _load(tmp_path, state_of(model_of(config), config))
    folded, _ = fold(loaded.module)
    images = _images(config)
    with torch.inference_mode():
        expected = loaded.module.double()(images)
        for block in folded.blocks:
            assert block.attn.reatten_matrix.weight.flatten(1).abs().sum(1).max() <= LARGEST_MIXED
            block.attn.var_norm.eps = 1e-5
        assert (folded(images) - expected).abs().max() > 1e-6


@pytest.mark.parametrize("gain", [0.0, 1e-9, -1e-4])
def test_a_head_of_next_to_no_gain_keeps_it(tmp_path, gain):
    config = CONFIGS["plain"]
    theirs = model_of(config)
    with torch.no_grad():
        theirs.transformer.layers[0][0].reattn_norm[1].weight[1] = gain
    loaded = _load(tmp_path, state_of(theirs, config))
    folded, _ = fold(loaded.module, [*ALWAYS, fold_head_gain])
    norm = folded.blocks[0].attn.var_norm
    assert isinstance(norm, HeadRms)
    assert norm.gain.tolist() == [1.0, pytest.approx(gain), 1.0]
    images = _images(config)
    with torch.inference_mode():
        assert (folded(images) - theirs.double()(images)).abs().max() <= BOUND


def test_one_head_is_nothing_but_its_bias(tmp_path):
    config = Config(heads=1)
    theirs = model_of(config)
    loaded = _load(tmp_path, state_of(theirs, config))
    folded, _ = fold(loaded.module, [*ALWAYS, fold_head_gain])
    images = _images(config)
    with torch.inference_mode():
        assert (folded(images) - theirs.double()(images)).abs().max() <= BOUND


def _without(state, *endings):
    return {name: value for name, value in state.items() if not name.endswith(endings)}


LAYER = "transformer.layers.0"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s | {f"{LAYER}.0.talking_heads.weight": torch.ones(3)}, "not known: 1 unexpected: .*talking_heads"),
        (lambda s: s | {"to_latent.weight": torch.ones(3)}, "1 unexpected: to_latent.weight"),
        (lambda s: _without(s, "reattn_weights"), "is of vit-pytorch, but no DeepViT: it has no reattn_weights"),
        (lambda s: _without(s, "reattn_norm.1.bias"), "2 missing: blocks.0.attn.var_norm.bias"),
        (lambda s: _without(s, f"{LAYER}.0.reattn_weights"), "as blocks.0.attn.reatten_matrix.weight it has nothing"),
        (lambda s: s | {"mlp_head.1.weight": torch.ones(5)}, "as head.weight it has 5"),
        (lambda s: s | {f"{LAYER}.1.net.1.bias": torch.ones(7)}, r"1 wrong shape: blocks.0.mlp.fc1.bias \(expected 40"),
        (lambda s: s | {"pos_embedding": torch.ones(1, 16, 24)}, "has positions for 15 patches, which are no square"),
        (
            lambda s: s | {"to_patch_embedding.2.weight": torch.ones(24, 64)},
            "patches of 64 values, which are no square",
        ),
        (lambda s: _without(s, "pos_embedding"), "is no DeepViT of vit-pytorch: it has no pos_embedding"),
    ],
)
def test_another_layout_is_refused_by_name(tmp_path, change, told):
    config = CONFIGS["plain"]
    with pytest.raises(InputError, match=told):
        _load(tmp_path, change(state_of(model_of(config), config)))


def test_whoever_names_another_variant_is_told_which(tmp_path):
    config = CONFIGS["plain"]
    save_file(state_of(model_of(config), config), tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=f"name the variant {NAME} instead"):
        load_model("digits_patch", checkpoint=tmp_path / "w.safetensors")


def test_what_weights_do_not_say_is_said_in_a_line(tmp_path, caplog):
    config = CONFIGS["plain"]
    state = state_of(model_of(config), config)
    loaded = _load(tmp_path, state, mean=(0.5, 0.5, 0.5))
    (line,) = caplog.messages
    assert line.endswith("taken: ‹std› 0.229,0.224,0.225, ‹crop_pct› 0.875, ‹interpolation› bilinear")
    assert loaded.preprocessing().model_dump() == {
        "resize": 36, "crop": 32, "interpolation": "bilinear", "mean": (0.5, 0.5, 0.5), "std": (0.229, 0.224, 0.225),
        "layout": "NCHW", "color": "RGB",
    }  # fmt: skip
    caplog.clear()
    _load(tmp_path, state, mean=(0, 0, 0), std=(1, 1, 1), crop_pct=1.0, interpolation="bicubic")
    assert not caplog.messages


def test_an_image_size_resamples_positions(tmp_path):
    config = CONFIGS["plain"]
    save_file(state_of(model_of(config), config), tmp_path / "w.safetensors")
    assert load_model(NAME, checkpoint=tmp_path / "w.safetensors", img_size=48).module.pos_embed.shape == (1, 37, 24)


def test_options_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="give ‹checkpoint›"):
        load_model(NAME)
    with pytest.raises(InputError, match="‹pooling› and ‹crop_pct› cannot be chosen for digits_patch"):
        load_model("digits_patch", unsaid=Unsaid(pooling=Pooling.MEAN, crop_pct=1.0))
    for said in ({"crop_pct": 0.0}, {"std": (0.0, 1.0, 1.0)}, {"mean": (float("nan"),) * 3}, {"interpolation": "area"}):
        with pytest.raises(InputError, match="expected"):
            dataclasses.replace(WeightOptions(), **said)
