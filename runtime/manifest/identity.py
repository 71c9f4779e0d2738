"""What a graph is, and what it takes: said in the manifest, and within the graph."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from ..preprocess import Crop, Preprocessing, golden_image, model_input, resize_and_crop
from .fields import LARGEST_INT, Classes, Dimension, Record, Sha256
from .forms import Precision

IDENTITY = "deepvit"  # the key of ONNX metadata
# Of what a graph says of itself, which is a kilobyte, three deep: more is hostile.
MOST_METADATA_BYTES = 64 << 10
MOST_NESTED = 8
LONGEST_SHOWN = 100  # of a value, in characters


class Weights(Record):
    """Where the weights come from; `sha256` is the checkpoint file's, or the random state dict's."""

    source: Literal["checkpoint", "random"]
    sha256: Sha256
    entry: str | None = None  # which entry of the checkpoint: state_dict_ema, state_dict, …
    seed: Annotated[int, pydantic.Field(ge=-LARGEST_INT, le=LARGEST_INT)] | None = None  # of random weights


class Tensor(Record):
    """One graph input or output; a string in `shape` is a dynamic dimension."""

    name: str
    shape: tuple[Dimension | str, ...]
    dtype: Literal["float32", "uint8"]

    @property
    def channels(self) -> int:
        """How many channels images of this shape have: of float32 (B, C, H, W); pixels (B, H, W, 3) are RGB."""
        channels = self.shape[1]
        return channels if self.dtype == "float32" and isinstance(channels, int) else 3


class Identity(Record):
    """What a graph is, and what it takes: said in the manifest, and within the graph by `metadata`."""

    # `schema` itself is taken by pydantic; the JSON says "schema".
    schema_version: int = pydantic.Field(alias="schema", ge=1, le=1)
    variant: str
    classes: Classes
    weights: Weights
    precision: Precision
    input: Tensor
    output: Tensor
    preprocess: Preprocessing

    @property
    def identity(self) -> dict[str, Any]:
        """These fields, of a manifest too, as JSON has them."""
        return self.model_dump(mode="json", by_alias=True, include=set(Identity.model_fields))

    @property
    def metadata(self) -> str:
        """What stands in the ONNX file's metadata under IDENTITY."""
        return json.dumps(self.identity, sort_keys=True, separators=(",", ":"))

    def differences(self, metadata: str) -> list[str]:
        """Return where the identity that a graph has in its metadata is another one, a text for each field."""
        size = len(metadata.encode(errors="surrogatepass"))
        if size > MOST_METADATA_BYTES:
            return [f"the graph says it in {size} bytes, expected at most {MOST_METADATA_BYTES}"]
        try:
            said = json.loads(metadata)
        except RecursionError:
            return [f"the graph says it nested more than {MOST_NESTED} deep"]
        except ValueError:
            return ["the graph says it in no JSON"]
        if _is_deeper(said, MOST_NESTED):
            return [f"the graph says it nested more than {MOST_NESTED} deep"]
        ours, graphs = dict(_leaves(self.identity)), dict(_leaves(said))
        return [
            f"{cut(json.dumps(name)[1:-1])} is {cut(json.dumps(ours.get(name)))} by the manifest, "
            f"{cut(json.dumps(graphs.get(name)))} by the graph"
            for name in sorted(ours.keys() | graphs.keys())
            if ours.get(name) != graphs.get(name)
        ]

    def input_from(self, crops: Crop) -> npt.NDArray[np.float32] | Crop:
        """Return crops (B, H, W, 3) uint8, cut as `preprocess` says, as the graph takes them; see `model_input`."""
        return model_input(crops, self.preprocess, self.input.channels)

    @property
    def golden_input(self) -> npt.NDArray[np.float32] | Crop:
        """The golden image as the graph takes it, one image."""
        return self.input_from(resize_and_crop(golden_image(self.preprocess.crop), self.preprocess)[None])


def _is_deeper(value: object, most: int) -> bool:
    """Return whether lists and objects of JSON are nested more than `most` deep."""
    if not isinstance(value, dict | list):
        return False
    return most == 0 or any(
        _is_deeper(part, most - 1) for part in (value.values() if isinstance(value, dict) else value)
    )


def cut(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield `preprocess.crop` and its value for everything within a JSON object."""
    if not isinstance(value, dict):
        yield path, value
        return
    for key, part in value.items():
        yield from _leaves(part, f"{path}.{key}" if path else key)
