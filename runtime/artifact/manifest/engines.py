"""What a manifest says of an engine: where it can run, and what is in it."""

from typing import Annotated, Any

import pydantic
import pydantic_core

from .batch import BatchRange
from .fields import Count, FileName, Partial, PositiveInt, Record, Sha256
from .forms import Backend, HardwareCompatibility


class Census(Record):
    """How many layers of which type and data type: "MATRIX_MULTIPLY HALF": 225."""

    network: dict[str, Count]  # as parsed, before the build
    engine: dict[str, Count] | None = None  # as built; None where neither an inspector nor the library's log told
    gemms_attributed: Count | None = None  # how many of the network's GEMMs and convolutions its layers name


class BuildLimits(Partial):
    """What bounded the search for an engine's kernels; None where the library's default did."""

    workspace_bytes: PositiveInt | None = None  # of scratch memory that a layer may take
    optimization_level: Count | None = None  # 0 builds fastest, 5 searches longest


class EnginePlugin(Record):
    """The plugin's library that an engine was built with; which of it has to match, `kernels/plugin_record.py` says."""

    sha256: Sha256
    kernels_sha256: Sha256  # of the kernels inside, whichever library they are in
    layer: str  # "deepvit::ReAttention/1"


class Engine(Record):
    """One engine, where it can run, and what is in it."""

    file: FileName
    backend: Backend
    version: Annotated[str, pydantic.Field(pattern=r"^[0-9]+(\.[0-9]+)+", max_length=100)]
    compute_capability: Annotated[str, pydantic.Field(pattern=r"^[0-9]+\.[0-9](,[0-9]+\.[0-9])*$", max_length=100)]
    gpu: str | None  # the GPU that it was tuned on; None where it was built without one
    driver: str | None
    profile: BatchRange
    census: Census
    hardware_compatible: HardwareCompatibility = HardwareCompatibility.NONE
    version_compatible: bool = False  # loads in later TensorRT versions, see trt/fit.py, by host code in the plan
    weight_stripped: bool = False  # its weights come from model.onnx when it is loaded
    options: BuildLimits = BuildLimits()
    plugin: EnginePlugin | None = None  # None: it needs none; then its JSON has no such field either

    @pydantic.model_serializer(mode="wrap")
    def _without_no_plugin(self, write: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in write(self).items() if name != "plugin" or value is not None}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: pydantic_core.CoreSchema, handler: pydantic.GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Its fields, as if none could be left out."""
        fields: Any = {name: part for name, part in core.items() if name != "serialization"}
        return handler(fields)
