"""Blocks that are alike are traced once: of a run of them two are traced, and the second is copied for the others.

Tracing costs more than anything else that is done to a graph, and each block costs the same. The first of a run owns
the constants that all of it share, so that the second refers to its own weights, to the block before it, and to nothing
else that those behind it would not refer to. What comes out is, byte for byte, what tracing all blocks gives.
"""

import copy
import dataclasses
import itertools
import re
from collections.abc import Callable, Iterable, Mapping

import onnx
import torch
from torch import nn

BLOCK = re.compile(r"blocks\.(\d+)(?=[./])")


@dataclasses.dataclass(frozen=True)
class Run:
    """Blocks that are alike and follow each other: from `first` to `last`."""

    first: int
    last: int

    @property
    def traced(self) -> range:
        return range(self.first, min(self.first + 2, self.last + 1))

    @property
    def copied(self) -> range:
        return range(self.first + 2, self.last + 1)


def runs_of(blocks: Iterable[nn.Module]) -> list[Run]:
    """Return the runs of blocks, in order: in one, nothing but the values of weights tells a block from the next."""
    runs: list[Run] = []
    previous = None
    for index, block in enumerate(blocks):
        kind = kind_of(block)
        if kind == previous:
            runs[-1] = dataclasses.replace(runs[-1], last=index)
        else:
            runs.append(Run(index, index))
        previous = kind
    return runs


def kind_of(module: nn.Module) -> tuple[str, ...]:
    """Return what a module's graph depends on: its modules, their settings, the shapes of its weights, its masks."""
    settings = [
        {name: value for name, value in vars(each).items() if not name.startswith("_")} for each in module.modules()
    ]
    shapes = [(name, tuple(value.shape), value.dtype) for name, value in module.state_dict().items()]
    masks = [(name, mask.tolist()) for name, mask in module.named_parameters() if not mask.requires_grad]
    return repr(module), repr(settings), repr(shapes), repr(masks)


def stand_in(module: nn.Module, runs: Iterable[Run]) -> nn.Module:
    """Return a copy of `module` with the blocks that are traced alone, its weights replaced by `stand_in_value`s.

    No two of them are equal, since the exporter makes one constant of equal ones.
    """
    blocks = module.get_submodule("blocks")
    assert isinstance(blocks, nn.ModuleList)
    module.blocks = nn.ModuleList(blocks[index] for run in runs for index in run.traced)
    try:
        copied = copy.deepcopy(module)
    finally:
        module.blocks = blocks
    _set_apart(copied)
    return copied


@torch.no_grad()
def _set_apart(module: nn.Module) -> None:
    for number, (_, weight) in enumerate(weights_of(module)):
        weight.fill_(stand_in_value(number))


def weights_of(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Return the parameters whose values are the model's, not the form's as those of masks are."""
    return [(name, weight) for name, weight in module.named_parameters() if weight.requires_grad]


def stand_in_value(number: int) -> float:
    """Return what stands for every entry of weight `number`: no value that a graph has otherwise."""
    return 10_000.0 + number


def copy_blocks(graph: onnx.GraphProto, runs: Iterable[Run]) -> None:
    """Give a graph of the traced blocks all of them, in place; the weights of those that are added have no values."""
    numbers = dict(enumerate(index for run in runs for index in run.traced))
    _rename(graph.node, lambda name: _numbered(name, numbers))
    for initializer in graph.initializer:
        initializer.name = _numbered(initializer.name, numbers)
    for run in runs:
        if run.copied:
            _copy_nodes(graph, run)
            _copy_weights(graph, run)


def _copy_nodes(graph: onnx.GraphProto, run: Run) -> None:
    nodes, template = list(graph.node), run.traced[-1]
    places = [index for index, node in enumerate(nodes) if _block_of(node.name) == template]
    own, behind = [nodes[index] for index in places], nodes[places[-1] + 1 :]
    made = {name for node in own for name in node.output}
    before = {name for node in nodes if _block_of(node.name) == run.first for name in node.output}
    copies = []
    for number in run.copied:
        part = [copy.deepcopy(node) for node in own]
        _rename(part, lambda name, to=number: _in_copy(name, before, run, to))  # type: ignore[misc]
        copies += part
    _rename(behind, lambda name: _numbered(name, {template: run.last}) if name in made else name)
    del graph.node[:]
    graph.node.extend([*nodes[: places[-1] + 1], *copies, *behind])


def _in_copy(name: str, before: set[str], run: Run, number: int) -> str:
    """Return what a name of the second of a run is in block `number`: its own there, or of the block before."""
    return _numbered(name, {run.first: number - 1} if name in before else {run.traced[-1]: number})


def _copy_weights(graph: onnx.GraphProto, run: Run) -> None:
    """Insert weights without values, each block's behind those of the block before."""
    template = run.traced[-1]
    weights = []
    for is_own, group in itertools.groupby(graph.initializer, lambda each: _block_of(each.name) == template):
        members = list(group)
        weights += members
        for number in run.copied if is_own else ():
            for each in members:
                name = _numbered(each.name, {template: number})
                weights.append(onnx.TensorProto(name=name, dims=each.dims, data_type=each.data_type))
    del graph.initializer[:]
    graph.initializer.extend(weights)


def _rename(nodes: Iterable[onnx.NodeProto], renamed: Callable[[str], str]) -> None:
    for node in nodes:
        node.name = renamed(node.name)
        for names in (node.input, node.output):
            names[:] = [renamed(name) for name in names]


def _block_of(name: str) -> int | None:
    found = BLOCK.match(name)
    return None if found is None else int(found[1])


def _numbered(name: str, numbers: Mapping[int, int]) -> str:
    """Return `name` with its block's number replaced, where it begins with that of a block in `numbers`."""
    block = _block_of(name)
    if block is None or block not in numbers:
        return name
    return BLOCK.sub(f"blocks.{numbers[block]}", name, count=1)
