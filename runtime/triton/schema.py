"""Triton's own protobuf schema of config.pbtxt; the only file that loads it."""

from typing import Any

from ..errors import InputError, MissingError

try:
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2 as schema
except ImportError as error:
    raise MissingError("Triton's schema needs tritonclient; pip install 'deepvit[triton]'") from error

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
