"""Every variant and alias under timm's `create_model`, with timm's data configuration: importing it registers them."""

import dataclasses
from collections.abc import Callable
from typing import Any

from timm.models import register_model
from timm.models._pretrained import PretrainedCfg

from .network import DeepViT, create_deepvit
from .row import Variant
from .variants import VARIANTS
from .weights.checkpoint import model_from_checkpoint
from .weights.published import fetch_checkpoint

# What `timm.create_model` hands to every entry point and a DeepViT has no use for.
_TIMM_ONLY = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")


def _pretrained_cfg(variant: Variant) -> PretrainedCfg:
    size = variant.img_size
    return PretrainedCfg(
        architecture=variant.name,
        url=variant.checkpoint_url,
        input_size=(3, size, size),
        fixed_input_size=True,
        interpolation=variant.interpolation,
        crop_pct=variant.crop_pct,
        mean=variant.mean,
        std=variant.std,
        num_classes=variant.num_classes,
        first_conv="patch_embed.proj",
        classifier="head",
        license="mit",
        origin_url="https://github.com/zhoudaquan/dvit_repo",
    )


def _entry_point(variant: Variant, name: str) -> Callable[..., DeepViT]:
    def create(pretrained: bool = False, **kwargs: Any) -> DeepViT:
        options = {key: value for key, value in kwargs.items() if key not in _TIMM_ONLY and value is not None}
        model = create_deepvit(variant, **options)
        if pretrained:
            _load_published(model, variant, options.get("img_size"))
        size = (model.in_chans, model.img_size, model.img_size)
        model.pretrained_cfg = dataclasses.replace(
            _pretrained_cfg(variant), input_size=size, num_classes=model.num_classes
        ).to_dict()
        model.default_cfg = model.pretrained_cfg
        return model

    create.__name__ = create.__qualname__ = name
    create.__doc__ = f"Create {variant.name}; see `deepvit.model.DeepViT` for the options."
    return create


def _load_published(model: DeepViT, variant: Variant, img_size: int | None) -> None:
    """Load the published weights into `model`; a head of another number of classes keeps its initialisation."""
    state = model_from_checkpoint(variant, fetch_checkpoint(variant), img_size=img_size).state_dict()
    if state["head.weight"].shape != model.head.weight.shape:
        state.update({f"head.{name}": value for name, value in model.head.state_dict().items()})
    model.load_state_dict(state)


for each in VARIANTS.values():
    for known_as in (each.name, *each.aliases):
        register_model(_entry_point(each, known_as))
