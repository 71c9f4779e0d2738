"""What the nodes of a cluster need to know of a run, and what they hand back."""

import contextlib
import dataclasses
import functools
import hashlib
import os
import pathlib
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import PIL

import deepvit
from deepvit.images.blocks import Block

from ..block_store import Arrays

Task = TypeVar("Task")
Found = tuple[int, bytes, Arrays]  # a block's number, its `Block.sha256`, and what is kept of it


@functools.cache
def own_code() -> str:
    """Return the hash of what answers depend on besides the model: our modules, and Pillow's version."""
    root = pathlib.Path(deepvit.__file__).parent
    digest = hashlib.sha256(PIL.__version__.encode())
    for folder, below, files in os.walk(root, followlinks=True):
        below[:] = sorted(set(below) - {"cpp", "__pycache__"})
        for path in (pathlib.Path(folder) / name for name in sorted(files) if name.endswith(".py")):
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


class BlockRunner(Protocol):
    """A model that was opened."""

    def record(self, block: Block) -> Arrays:
        """Run a block and return what is kept of it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClusterJob(Generic[Task]):
    """What nodes need to know of a run; picklable.

    Attributes:
        decode: Makes a block of a task.
        opener: Opens the model on a node, whose cores it shares with so many others.
        place: A path of an image that every node must have too; None where there is none.
        folder: What relative paths start from.
        code: What runs it here; a node must have the same.
    """

    decode: Callable[[Task], Block]
    opener: Callable[[int], contextlib.AbstractContextManager[BlockRunner]]
    place: str | None
    folder: str = dataclasses.field(default_factory=os.getcwd)
    code: str = dataclasses.field(default_factory=own_code)
