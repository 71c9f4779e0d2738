"""Models as a user names them, opened for whatever measures them."""

from .opened import Contestant, OpenedModel
from .opening import is_variant, open_model, open_reference, open_torch
from .same import preprocessing_breaches, require_same, shared_class_names
from .weights import as_exported, load_weights_of

__all__ = [
    "Contestant",
    "OpenedModel",
    "as_exported",
    "is_variant",
    "load_weights_of",
    "open_model",
    "open_reference",
    "open_torch",
    "preprocessing_breaches",
    "require_same",
    "shared_class_names",
]
