"""Checkpoint files → models: every format that the original code wrote, and what people make of it.

A file is read without running any code in it, see `pickled` and `tensor_file`; what does not fit a model is reported
whole, in one message. Format sources: the original implementation's `timm/utils/checkpoint_saver.py` and
`clean_checkpoint.py`.
"""

import contextlib
import dataclasses
import enum
import hashlib
import io
import os
import pathlib
from collections.abc import Iterator, Mapping

import torch
from timm.layers import resample_abs_pos_embed

from deepvit.runtime.errors import InputError, first_of
from deepvit.runtime.files import open_bounded

from ..architecture import MixNorm
from ..network import DeepViT, allocate, create_deepvit
from ..row import Layout, Variant
from ..variants import VARIANTS
from ..vit_pytorch import VIT_PYTORCH
from .pickled import PickleReader
from .pickled_child import NAMES_SHOWN
from .tensor_file import parse_tensors
from .vit_pytorch import is_vit_pytorch
from .wrappers import unwrapped

MOST_BYTES = 8 << 30


class EmaChoice(enum.Enum):
    """Which of the two sets of weights of a training checkpoint is taken."""

    PREFER = "prefer"  # the exponential moving average where there is one
    REFUSE = "refuse"  # the plain weights


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The weights of one file: cleaned names → CPU tensors, which entry they came from, the file's SHA-256."""

    state: Mapping[str, torch.Tensor]
    entry: str  # "state_dict_ema", "state_dict", … or "" for a plain state dict
    sha256: str
    path: pathlib.Path


def read_checkpoint(path: pathlib.Path, ema: EmaChoice = EmaChoice.PREFER, *, sha256: str | None = None) -> Checkpoint:
    """Read a `.pth`, `.pth.tar`, `.pt` or `.safetensors` file without running any code in it.

    Args:
        path: The file.
        ema: Whether exponential moving averages are taken where the file has them.
        sha256: What the file must have; of any other nothing is loaded.

    Raises:
        InputError: Another SHA-256, not readable, not safe, not a checkpoint, or with weights that are not finite,
            floating-point ones.
        MissingError: The process that reads pickles cannot run here.
    """
    name = f"checkpoint {path}"
    if not path.exists():
        raise InputError(f"{name} does not exist; give a .pth.tar, .pth, .pt or .safetensors file")
    with open_bounded(path, MOST_BYTES, "a checkpoint", name=name) as stream:
        if sha256 is not None:
            _require_sha256(name, stream, sha256)
        if path.suffix == ".safetensors":
            content = bytearray(os.fstat(stream.fileno()).st_size)
            with _reading(name):
                del content[stream.readinto(content) :]  # of a file that has become shorter
            digest = hashlib.sha256(content).hexdigest()
            entry, state = "", parse_tensors(content, name)
        else:
            with PickleReader(stream, name, prefers_ema=ema is EmaChoice.PREFER) as reader:
                with _reading(name):
                    digest = hashlib.file_digest(stream, "sha256").hexdigest()
                entry, state = reader.result()
    return Checkpoint(state=_clean_state(name, state), entry=entry, sha256=digest, path=path)


def _require_sha256(name: str, stream: io.BufferedReader, expected: str) -> None:
    with _reading(name):
        got = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(0)
    if got != expected.lower():
        raise InputError(f"{name} has SHA-256 {got}, ‹sha256› says {expected}; nothing of it was loaded")


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from error


def _clean_state(name: str, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Strip wrapper prefixes and auxiliary BatchNorm, check that every value can be a weight, return float32."""
    state = {key: value for key, value in unwrapped(name, state).items() if ".aux_bn." not in key}
    cleaned = {key: _as_float32(value) for key, value in state.items()}
    bad = sorted(k for k, v in cleaned.items() if v.is_floating_point() and not bool(torch.isfinite(v).all()))
    if bad:
        raise InputError(f"{name} has non-finite weights in {first_of(bad, NAMES_SHOWN)}; training diverged?")
    negative = sorted(k for k, v in cleaned.items() if k.endswith("running_var") and bool((v < 0).any()))
    if negative:
        raise InputError(f"{name} has negative variances in {first_of(negative, NAMES_SHOWN)}; is the file damaged?")
    return cleaned


def _as_float32(value: torch.Tensor) -> torch.Tensor:
    return value.to(torch.float32) if value.is_floating_point() else value


def model_from_checkpoint(
    variant: Variant,
    checkpoint: Checkpoint,
    *,
    img_size: int | None = None,
    num_classes: int | None = None,
) -> DeepViT:
    """Build `variant` with the checkpoint's weights, in evaluation mode, float32.

    Classes, channels and the norm of re-attention are taken from the checkpoint. A position embedding of another
    size is resampled (bicubic, timm's `resample_abs_pos_embed`) only when `img_size` is given, since otherwise the
    checkpoint is more likely that of another variant.

    Args:
        variant: What the checkpoint is expected to be.
        checkpoint: The weights.
        img_size: Side of the images; the variant's where none is given.
        num_classes: The number of classes the caller relies on; anything else in the checkpoint is an error.

    Raises:
        InputError: Missing or unexpected entries or wrong shapes, all of them, and the variant that would fit.
    """
    state = dict(checkpoint.state)
    model = _sized_as(variant, state, img_size)
    if num_classes is not None and model.num_classes != num_classes:
        raise InputError(
            f"checkpoint {checkpoint.path} has {model.num_classes} classes, ‹num_classes› says {num_classes}"
        )
    if img_size is not None:
        _resize_position_embedding(model, state)
    faults = mismatches(model, state)
    if faults:
        raise InputError(
            f"checkpoint {checkpoint.path} does not fit {variant.name}; {_suggest(variant, checkpoint.state, faults)}"
        )
    own = allocate(model).state_dict()
    model.load_state_dict({key: state.get(key, own[key]) for key in own})
    return model.eval()


def _width(state: Mapping[str, torch.Tensor], key: str, axis: int, default: int) -> int:
    tensor = state.get(key)
    return int(tensor.shape[axis]) if tensor is not None and tensor.ndim > axis and tensor.shape[axis] else default


def _first_conv(state: Mapping[str, torch.Tensor]) -> str:
    return "patch_embed.conv1.weight" if "patch_embed.conv1.weight" in state else "patch_embed.proj.weight"


def _resize_position_embedding(model: DeepViT, state: dict[str, torch.Tensor]) -> None:
    """Resample `pos_embed` (1, 1 + n², dim) to the model's grid where it has another one."""
    embedding = state.get("pos_embed")
    if embedding is None or embedding.ndim != 3 or embedding.shape[1] == model.pos_embed.shape[1]:
        return
    old = int((embedding.shape[1] - 1) ** 0.5)
    if old < 1 or old * old + 1 != embedding.shape[1]:
        return  # not a square grid: reported as a wrong shape
    new = model.img_size // model.architecture.patch_size
    state["pos_embed"] = resample_abs_pos_embed(embedding, (new, new), (old, old), num_prefix_tokens=1)


def mismatches(model: DeepViT, state: Mapping[str, torch.Tensor]) -> list[str]:
    """Return what does not fit: missing, unexpected and wrong shapes, one string each, none where all fits.

    `num_batches_tracked` may be missing: it counts training steps and changes nothing in evaluation.
    """
    own = model.state_dict()
    missing = sorted(k for k in own.keys() - state.keys() if not k.endswith("num_batches_tracked"))
    unexpected = sorted(state.keys() - own.keys())
    wrong = sorted(
        f"{k} (expected {_shape(own[k])}, got {_shape(state[k])})"
        for k in own.keys() & state.keys()
        if own[k].shape != state[k].shape
    )
    kinds = (("missing", missing), ("unexpected", unexpected), ("wrong shape", wrong))
    return [f"{len(names)} {kind}: {first_of(names, NAMES_SHOWN)}" for kind, names in kinds if names]


def fitting_variants(state: Mapping[str, torch.Tensor]) -> list[str]:
    """Return the names of the variants whose state dict has exactly these entries and shapes, classes aside."""
    return [candidate.name for candidate in VARIANTS.values() if not mismatches(_sized_as(candidate, state), state)]


def _sized_as(variant: Variant, state: Mapping[str, torch.Tensor], img_size: int | None = None) -> DeepViT:
    """Return `variant` on the meta device, with the classes, channels and norm of a state dict."""
    with torch.device("meta"):
        return create_deepvit(
            variant,
            img_size=img_size,
            num_classes=_width(state, "head.weight", 0, variant.num_classes),
            in_chans=_width(state, _first_conv(state), 1, 3) if variant.layout is Layout.ORIGINAL else 3,
            mix_norm=None if variant.layout is not Layout.ORIGINAL or _has_norm(state) else MixNorm.NONE,
        )


def _has_norm(state: Mapping[str, torch.Tensor]) -> bool:
    return any(".var_norm." in key for key in state)


def _suggest(variant: Variant, state: Mapping[str, torch.Tensor], faults: list[str]) -> str:
    """Return what would fit, and else what does not."""
    if is_vit_pytorch(state):
        return f"it has the names of vit-pytorch: name the variant {VIT_PYTORCH.name} instead"
    if fitting := fitting_variants(state):
        return f"it fits {' or '.join(fitting)}: name that variant instead"
    listed = "; ".join(faults)
    tokens = state["pos_embed"].shape[1] if "pos_embed" in state and state["pos_embed"].ndim == 3 else 0
    side = int(max(tokens - 1, 0) ** 0.5)
    if side and side * side + 1 == tokens and side * variant.architecture.patch_size != variant.img_size:
        size = side * variant.architecture.patch_size
        return f"its position embedding is for {size}×{size} images: pass ‹img_size› {size}; {listed}"
    return f"no variant fits it: {listed}"


def _shape(tensor: torch.Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "scalar"
