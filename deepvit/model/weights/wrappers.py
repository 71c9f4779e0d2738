"""Names of weights without what training wrapped around their modules: DDP, FSDP, torch.compile, Lightning."""

import logging
import re
from collections.abc import Mapping

import torch

from deepvit.runtime.errors import InputError, first_of

logger = logging.getLogger(__name__)
AROUND_ALL = ("module.", "model.")  # DistributedDataParallel, Lightning: either may be a module's own name further in
# Around any module; no module of ours has such a name: torch.compile, FSDP, activation checkpointing.
ANYWHERE = re.compile(r"(?:(?<=\.)|^)(?:_orig_mod|_fsdp_wrapped_module|_fpw_module|_checkpoint_wrapped_module)\.")
FLAT = "_flat_param"
NAMES_SHOWN = 8


def unwrapped(name: str, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return `state` with the modules' own names, and say so in a line where they had others.

    Args:
        name: What errors call it.
        state: Name → weight.

    Raises:
        InputError: FSDP's flattened parameters, or two weights of one name.
    """
    if flat := sorted(key for key in state if FLAT in key):
        raise InputError(
            f"{name} holds FSDP's flattened parameters, {first_of(flat, NAMES_SHOWN)}: save a full state dict "
            "(StateDictType.FULL_STATE_DICT), or convert it"
        )
    prefixes, names = {}, {key: ANYWHERE.sub("", key) for key in state}
    for key in state:
        prefixes.update(dict.fromkeys(ANYWHERE.findall(key)))
    for prefix in AROUND_ALL * 2:  # either may be outside
        if all(each.startswith(prefix) for each in names.values()):
            names = {key: each.removeprefix(prefix) for key, each in names.items()}
            prefixes[prefix] = None
    if len(set(names.values())) != len(names):
        twice = sorted({each for each in names.values() if list(names.values()).count(each) > 1})
        raise InputError(f"{name} has weights twice, wrapped and not: {first_of(twice, NAMES_SHOWN)}")
    if prefixes:
        logger.warning("%s: names taken without %s, which training put around modules", name, " and ".join(prefixes))
    return {names[key]: value for key, value in state.items()}
