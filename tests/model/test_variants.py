"""The table, its aliases, and timm's view of it."""

import pytest
import timm
import torch

import deepvit.model
import deepvit.model.registry
from deepvit.runtime.errors import InputError

TOP1 = {
    "vit_16": 78.88, "vit_24": 79.35, "vit_32": 79.27, "deepvit_16": 79.10, "deepvit_24": 79.99, "deepvit_32": 80.90,
    "deepvit_s": 82.3, "deepvit_l": 83.1, "deepvit_l_384": 84.25,
}  # fmt: skip


def test_published_accuracies():
    assert {row.name: row.top1 for row in deepvit.model.VARIANTS.values() if row.is_published} == TOP1


@pytest.mark.parametrize(
    ("alias", "name"),
    [("deepvit_patch16_224_re_attn_32b", "deepvit_32"), ("deepvit_S", "deepvit_s"), ("deepvit_L_384", "deepvit_l_384")],
)
def test_original_names(alias, name):
    assert deepvit.model.find_variant(alias).name == name
    assert timm.is_model(alias)
    assert timm.is_model(name)


def test_unknown_names_get_the_nearest():
    with pytest.raises(InputError, match="nearest: deepvit_32"):
        deepvit.model.find_variant("deepvit32")


def test_timm_creates_and_configures():
    model = timm.create_model("deepvit_S", num_classes=7, img_size=112, in_chans=4, drop_path_rate=0.1).eval()
    assert model(torch.zeros(1, 4, 112, 112)).shape == (1, 7)
    assert timm.data.resolve_model_data_config(model)["input_size"] == (4, 112, 112)
    config = timm.data.resolve_model_data_config(timm.create_model("deepvit_l_384"))
    assert (config["crop_pct"], config["interpolation"], config["mean"]) == (1.0, "bicubic", (0.5, 0.5, 0.5))


def test_timm_pretrained_keeps_the_weights_and_takes_another_head():
    plain = timm.create_model("digits_cnn", pretrained=True)
    assert plain.num_classes == 10
    tuned = timm.create_model("digits_cnn", pretrained=True, num_classes=3)
    assert tuned.num_classes == 3
    assert torch.equal(tuned.blocks[5].attn.qkv.weight, plain.blocks[5].attn.qkv.weight)


@pytest.mark.parametrize("options", [{"img_size": 230}, {"num_classes": 0}, {"in_chans": 0}, {"img_size": 0}])
def test_impossible_sizes(options):
    with pytest.raises(InputError):
        deepvit.model.create_deepvit(deepvit.model.VARIANTS["deepvit_16"], **options)


def test_wrong_image_size_is_named(tiny_model):
    with pytest.raises(InputError, match="images are 40×40, expected 32×32"):
        tiny_model(torch.zeros(1, 3, 40, 40))
