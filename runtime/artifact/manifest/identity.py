"""What a graph is, and what it takes: said in the manifest, and within the graph."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pydantic

from ...errors import STEERING, InputError, first_of, printable, validation_faults
from ...preprocess import Crop, Preprocessing, golden_image, model_input, resize_and_crop
from .fields import FAULTS_SHOWN, LARGEST_INT, Classes, Dimension, Record, Sha256, cut, without_duplicates
from .forms import Precision

IDENTITY, VERSION = "deepvit", "deepvit_version"  # keys of ONNX metadata: what the graph is, and what exported it
# Of what a graph says of itself, three deep, which is a kilobyte and its class names: more is hostile.
MOST_METADATA_BYTES = 1 << 20
MOST_NESTED = 8
MOST_CHANNELS = 1024
LONGEST_NAME = 300  # in bytes of UTF-8; the longest of ImageNet's classes has 121


def name_fault(name: str) -> str:
    """Return why `name` cannot be a class's, which a terminal shows and a list has on a line; "" where it can."""
    if not name or name != name.strip(" "):
        return "is empty, or has a space at an end"
    size = len(name.encode(errors="surrogatepass"))
    if size > LONGEST_NAME:
        return f"has {size} bytes, expected at most {LONGEST_NAME}"
    return "has characters that steer a terminal" if STEERING.search(name) else ""


def _checked_name(name: str) -> str:
    if fault := name_fault(name):
        raise ValueError(f"the name {fault}: {cut(printable(name))!r}")
    return name


Name = Annotated[str, pydantic.AfterValidator(_checked_name)]


class Weights(Record):
    """Where the weights come from; `sha256` is the checkpoint file's, or the random state dict's."""

    source: Literal["checkpoint", "random"]
    sha256: Sha256
    entry: str | None = None  # which entry of the checkpoint: state_dict_ema, state_dict, …
    seed: Annotated[int, pydantic.Field(ge=-LARGEST_INT, le=LARGEST_INT)] | None = None  # of random weights


class Tensor(Record):
    """One graph input or output; a string in `shape` is a dynamic dimension."""

    name: Name
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
    variant: Name
    classes: Classes
    weights: Weights
    precision: Precision
    input: Tensor
    output: Tensor
    preprocess: Preprocessing
    class_names: tuple[Name, ...] | None = None  # in the order of the logits; None: nobody said

    @pydantic.model_validator(mode="after")
    def _coherent(self) -> Self:
        """What the fields say of one another."""
        faults = [fault for fault in (self._input_fault(), self._output_fault()) if fault]
        if self.class_names is not None and len(self.class_names) != self.classes:
            faults.append(f"class_names has {len(self.class_names)} names, classes is {self.classes}")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _input_fault(self) -> str:
        crop, shape, is_pixels = self.preprocess.crop, self.input.shape, self.preprocess.layout == "NHWC"
        channels = shape[1] if len(shape) == 4 and not is_pixels else 3
        expected = (crop, crop, 3) if is_pixels else (channels, crop, crop)
        if shape[1:] != expected or self.input.dtype != ("uint8" if is_pixels else "float32"):
            return f"input is {self.input.dtype} {shape}, which is not what preprocess makes: {crop} × {crop} pixels"
        if not isinstance(channels, int) or channels > MOST_CHANNELS:
            return f"input has {channels} channels, expected a number up to {MOST_CHANNELS}"
        return ""

    def _output_fault(self) -> str:
        expected = (self.input.shape[0] if self.input.shape else "batch", self.classes)
        if self.output.shape == expected and self.output.dtype == "float32":
            return ""
        return f"output is {self.output.dtype} {self.output.shape}, expected float32 {expected}"

    @property
    def has_random_weights(self) -> bool:
        return self.weights.source == "random"

    @property
    def identity(self) -> dict[str, Any]:
        """These fields, of a manifest too, as JSON has them."""
        return self.model_dump(mode="json", by_alias=True, include=set(Identity.model_fields))

    @property
    def metadata(self) -> str:
        """What stands in the ONNX file's metadata under IDENTITY."""
        return json.dumps(self.identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def differences(self, metadata: str) -> list[str]:
        """Return where the identity that a graph has in its metadata is another one, a text for each field."""
        try:
            said = _json_from(metadata)
        except ValueError as error:
            return [f"the graph says it {error}"]
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


def names_or_numbers(identity: Identity | None, classes: int) -> tuple[str, ...]:
    """Return the names of a model's classes, their numbers where nobody says."""
    return (None if identity is None else identity.class_names) or tuple(map(str, range(classes)))


def parse_identity(metadata: str, name: str) -> Identity:
    """Parse what an ONNX file says of itself under IDENTITY, as strictly as a manifest, for one that has no manifest.

    Args:
        metadata: What stands there: of a file that anybody may have written.
        name: What errors call the file.

    Raises:
        InputError: It is too much, no JSON, or does not say what a graph is.
    """
    try:
        _json_from(metadata)
        return Identity.model_validate_json(metadata, strict=True)
    except pydantic.ValidationError as error:
        shown = first_of([cut(printable(fault)) for fault in validation_faults(error)], FAULTS_SHOWN, "; ")
        raise InputError(f"{name} says in its metadata what it is, and not as an export does: {shown}") from error
    except ValueError as error:
        raise InputError(f"{name} says in its metadata what it is, but {error}; export again") from error


def _json_from(metadata: str) -> object:
    """Return the JSON that a graph has in its metadata.

    Raises:
        ValueError: It is longer or deeper than that of any export, or no JSON, or has a key twice.
    """
    size = len(metadata.encode(errors="surrogatepass"))
    if size > MOST_METADATA_BYTES:
        raise ValueError(f"in {size} bytes, expected at most {MOST_METADATA_BYTES}")
    try:
        said = json.loads(metadata, object_pairs_hook=without_duplicates)
    except RecursionError as error:
        raise ValueError(f"nested more than {MOST_NESTED} deep") from error
    except json.JSONDecodeError as error:
        raise ValueError("in no JSON") from error
    except ValueError as error:
        raise ValueError(f"with a fault: {error}") from error
    if _is_deeper(said, MOST_NESTED):
        raise ValueError(f"nested more than {MOST_NESTED} deep")
    return said


def _is_deeper(value: object, most: int) -> bool:
    """Return whether lists and objects of JSON are nested more than `most` deep."""
    if not isinstance(value, dict | list):
        return False
    return most == 0 or any(
        _is_deeper(part, most - 1) for part in (value.values() if isinstance(value, dict) else value)
    )


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield `preprocess.crop` and its value for everything within a JSON object."""
    if not isinstance(value, dict):
        yield path, value
        return
    for key, part in value.items():
        yield from _leaves(part, f"{path}.{key}" if path else key)
