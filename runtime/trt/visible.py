"""Which GPUs this process may use, and how CUDA counts them."""

import os
import re
from collections.abc import Sequence

from ..errors import InputError

VISIBLE = "CUDA_VISIBLE_DEVICES"
# CUDA counts the fastest GPU first unless it is told otherwise; nvidia-smi, and whoever reads it, counts by PCI bus.
# CUDA reads this when it is used first.
os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
KNOWN = re.compile(r"\d+|GPU-[0-9a-fA-F-]+|MIG-[0-9a-zA-Z/-]+")


def visible_gpus() -> tuple[str, ...] | None:
    """Return what CUDA_VISIBLE_DEVICES leaves, in CUDA's order: numbers, GPU or MIG ids. None where it is not set.

    As CUDA does, what follows a name of another kind, as −1 is one, is left out.
    """
    text = os.environ.get(VISIBLE)
    if text is None:
        return None
    found: list[str] = []
    for name in (part.strip() for part in text.split(",")):
        if not KNOWN.fullmatch(name):
            break
        found.append(name)
    return tuple(found)


def visible_gpu(device: int) -> str:
    """Return how the environment names the GPU that CUDA counts as `device`.

    Raises:
        LookupError: It is hidden.
    """
    visible = visible_gpus()
    if visible is None:
        return str(device)
    if device >= len(visible):
        text = os.environ[VISIBLE]
        raise LookupError(f"{VISIBLE}={text!r} {'hides them' if device == 0 else f'leaves no GPU {device}'}")
    return visible[device]


def gpus_within_visible(names: Sequence[str]) -> tuple[str, ...]:
    """Return GPUs as a process of ours is to be given them: numbers count within what this one was given.

    Args:
        names: Numbers, or ids as CUDA_VISIBLE_DEVICES has them.

    Raises:
        InputError: One that this process was not given, or one GPU twice.
    """
    visible = visible_gpus()
    if visible is None:
        return tuple(names)
    given = {str(number): name for number, name in enumerate(visible)} | {n: n for n in visible if not n.isdigit()}
    unknown = sorted(name for name in names if name not in given)
    if unknown:
        raise InputError(
            f"‹gpus› {','.join(unknown)}: {VISIBLE}={os.environ[VISIBLE]} leaves {len(visible)}, counted from 0 in its "
            "order"
        )
    mapped = tuple(given[name] for name in names)
    if len(set(mapped)) != len(mapped):
        raise InputError(f"‹gpus› {','.join(names)} are {','.join(mapped)} of {VISIBLE}: expected different GPUs")
    return mapped
