"""Triton's own protobuf schema of config.pbtxt, as its client carries it; the only file that loads it."""

import importlib.util
import pathlib
import sys
from typing import Any

from google.protobuf import text_format

from ..errors import InputError, missing_library

SCHEMA = "tritonclient.grpc.model_config_pb2"


def _loaded_schema() -> Any:
    """Return what protobuf made of model_config.proto, without its package, which would load all of gRPC.

    Raises:
        MissingError: Triton's client is not installed, or has no such file.
    """
    package, *folders, module = SCHEMA.split(".")
    found = importlib.util.find_spec(package)
    for place in (found and found.submodule_search_locations) or ():
        path = pathlib.Path(place, *folders, f"{module}.py")
        spec = importlib.util.spec_from_file_location(f"_{module}_of_{package}", path)
        if path.is_file() and spec is not None and spec.loader is not None:
            loaded = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(loaded)
            return loaded
    raise missing_library("Triton's schema", ModuleNotFoundError(f"No module named {SCHEMA!r}", name=package))


schema = sys.modules.get(SCHEMA) or _loaded_schema()

__all__ = ["ModelConfig", "config_text", "parse_config", "schema"]

ModelConfig = Any  # schema.ModelConfig, whose class is made at run time


def config_text(config: ModelConfig) -> str:
    """Return what config.pbtxt holds."""
    return str(text_format.MessageToString(config))


def parse_config(text: str, name: str) -> ModelConfig:
    """Parse a config.pbtxt by the schema.

    Raises:
        InputError: A field that the schema does not have, or a value of another type; with line and column.
    """
    try:
        return text_format.Parse(text, schema.ModelConfig())
    except text_format.ParseError as error:
        raise InputError(f"{name} does not follow Triton's schema: {str(error).splitlines()[0]}") from error
