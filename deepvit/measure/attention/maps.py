"""What gives attention maps for an image, and a graph that does."""

from typing import Protocol

import numpy as np

from deepvit.export.graph.spec import AFTER, BEFORE, FEATURES
from deepvit.runtime.artifact import Artifact
from deepvit.runtime.errors import InputError
from deepvit.runtime.opening import proved_graph
from deepvit.runtime.session.tensors import Images, padded_batch

from .analysis import AttentionMaps


class MapSource(Protocol):
    """What gives maps for an image."""

    @property
    def description(self) -> str:
        """What runs the model."""

    def maps(self, image: Images) -> AttentionMaps:
        """Return the maps for one image as the model takes it, (1, …)."""


class OnnxMaps:
    """Maps of an artifact that was exported with --attention-maps, as its own precision computes them.

    Raises:
        InputError: An artifact without maps, or whose graph is not what its manifest says.
    """

    def __init__(self, artifact: Artifact, provider: str = "cpu") -> None:
        if artifact.manifest.graph.attention_maps is None:
            raise InputError(
                f"{artifact.folder} does not give its attention maps; export it again with ‹attention_maps›"
            )
        self._graph = proved_graph(artifact, provider)
        self._least = artifact.manifest.batch.min
        self.description = self._graph.description

    def maps(self, image: Images) -> AttentionMaps:
        """See `MapSource.maps`."""
        input_name = next(iter(self._graph.inputs))
        outputs = self._graph.run({input_name: padded_batch(image, self._least)})
        blocks = sum(name.startswith(f"{FEATURES}.") for name in outputs)
        before = np.stack([outputs[f"{BEFORE}.{index}"][0] for index in range(blocks)])
        reattends = tuple(f"{AFTER}.{index}" in outputs for index in range(blocks))
        after = [outputs[f"{AFTER}.{i}"][0] if mixes else before[i] for i, mixes in enumerate(reattends)]
        features = np.stack([outputs[f"{FEATURES}.{index}"][0] for index in range(blocks)])
        return AttentionMaps(before=before, after=np.stack(after), features=features, reattends=reattends)
