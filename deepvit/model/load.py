"""Where the model comes from: a checkpoint file, the published one, or seeded random weights."""

import dataclasses
import logging
import pathlib
from typing import Literal

import torch

from deepvit.runtime.artifact.manifest import Weights
from deepvit.runtime.errors import InputError
from deepvit.runtime.preprocess import Preprocessing

from .architecture import Pooling
from .network import DeepViT, allocate, create_deepvit
from .row import Layout, Variant
from .variants import find_variant
from .vit_pytorch import Unsaid
from .weights.addresses import HUB, fetch_address, is_address, record_sha256
from .weights.checkpoint import Checkpoint, EmaChoice, model_from_checkpoint, read_checkpoint
from .weights.published import fetch_checkpoint
from .weights.random import SEED, randomize, state_sha256
from .weights.vit_pytorch import read_vit_pytorch

logger = logging.getLogger(__name__)
NOTHING = Unsaid()


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model in evaluation mode, float32, and where its weights come from."""

    variant: Variant
    module: DeepViT
    weights: Weights

    def preprocessing(self, layout: Literal["NCHW", "NHWC"] = "NCHW") -> Preprocessing:
        """Return how images become this model's input."""
        return self.variant.preprocessing(self.module.img_size, layout)


def load_model(
    variant: str,
    *,
    checkpoint: pathlib.Path | str | None = None,
    sha256: str | None = None,
    pretrained: bool = False,
    ema: EmaChoice = EmaChoice.PREFER,
    img_size: int | None = None,
    num_classes: int | None = None,
    unsaid: Unsaid = NOTHING,
) -> LoadedModel:
    """Build a variant; without a checkpoint and without `pretrained` its weights are random.

    Args:
        variant: Its name or an alias.
        checkpoint: File of its weights, or their address; see `weights.addresses`.
        sha256: What that file must have.
        pretrained: Whether they are the published ones.
        ema: Which of the two sets of weights of a training checkpoint is taken.
        img_size: Side of the images, where not the variant's own.
        num_classes: Where not the variant's own; a checkpoint says it itself.
        unsaid: What the weights of `VIT_PYTORCH` do not say, of which nothing is for other variants.

    Raises:
        InputError: `checkpoint` and `pretrained`, an unknown variant, an impossible size, or a checkpoint that cannot
            be used.
        MissingError: A checkpoint cannot be fetched here.
    """
    if pretrained and checkpoint is not None:
        raise InputError("‹pretrained› and ‹checkpoint› both say where the weights come from; give one of them")
    row = find_variant(variant)
    require_checkpoint(row, has_checkpoint=checkpoint is not None, unsaid=unsaid)
    trained: Checkpoint | None = None
    if checkpoint is not None:
        trained = _checkpoint_at(checkpoint, ema, sha256)
    elif pretrained:
        trained = fetch_checkpoint(row, ema)
    if trained is not None and row.layout is Layout.VIT_PYTORCH:
        row, trained = _recognised(row, trained, unsaid)
    if trained is not None:
        return loaded_from_checkpoint(row, trained, img_size=img_size, num_classes=num_classes)
    with torch.device("meta"):
        module = create_deepvit(row, img_size=img_size, num_classes=num_classes)
    randomize(allocate(module))
    weights = Weights(source="random", sha256=state_sha256(module), seed=SEED)
    return LoadedModel(variant=row, module=module, weights=weights)


def loaded_from_checkpoint(
    row: Variant, trained: Checkpoint, *, img_size: int | None = None, num_classes: int | None = None
) -> LoadedModel:
    """Build a variant, which need not be one of the table, with the weights of a checkpoint.

    Raises:
        InputError: They are of another network.
    """
    module = model_from_checkpoint(row, trained, img_size=img_size, num_classes=num_classes)
    weights = Weights(source="checkpoint", sha256=trained.sha256, entry=trained.entry or None)
    return LoadedModel(variant=row, module=module, weights=weights)


def _checkpoint_at(place: pathlib.Path | str, ema: EmaChoice, sha256: str | None) -> Checkpoint:
    """Read the checkpoint in a file or at an address; what the Hub's own cache holds it checks itself."""
    if not is_address(place):
        return read_checkpoint(pathlib.Path(place), ema, sha256=sha256)
    path = fetch_address(str(place))
    trained = read_checkpoint(path, ema, sha256=sha256)
    if not str(place).startswith(HUB):
        record_sha256(path, trained.sha256)
    return trained


def require_checkpoint(row: Variant, *, has_checkpoint: bool, unsaid: Unsaid) -> None:
    """Refuse vit-pytorch's DeepViT without the weights that say its sizes, and what is for it alone with any other.

    Raises:
        InputError: Either.
    """
    if row.layout is Layout.VIT_PYTORCH:
        if not has_checkpoint:
            raise InputError(f"{row.name} has the sizes that its checkpoint has; give ‹checkpoint›")
    elif unsaid.given:
        names = " and ".join(f"‹{name}›" for name in unsaid.given)
        raise InputError(f"{names} cannot be chosen for {row.name}, of which it is known; leave out")


def _recognised(row: Variant, trained: Checkpoint, unsaid: Unsaid) -> tuple[Variant, Checkpoint]:
    """Return what vit-pytorch's weights say, and those under our names; say in a line what nobody said."""
    given, name = unsaid.given, f"checkpoint {trained.path}"
    pooling = unsaid.pooling or Pooling.CLS
    preparation = {each: value for each, value in given.items() if each != "pooling"}
    found, state = read_vit_pytorch(dataclasses.replace(row, **preparation), trained.state, name, pooling)  # type: ignore[arg-type]
    taken = {each: getattr(found, each) for each in ("mean", "std", "crop_pct", "interpolation") if each not in given}
    taken |= {} if "pooling" in given else {"pooling": pooling.value}
    if taken:
        logger.warning("%s does not say how images are prepared and tokens pooled; taken: %s", name, _options(taken))
    return found, dataclasses.replace(trained, state=state)


def _options(taken: dict[str, object]) -> str:
    """Return options as a user would give them."""
    return ", ".join(
        f"‹{name}› {','.join(map(str, value)) if isinstance(value, tuple) else value}" for name, value in taken.items()
    )
