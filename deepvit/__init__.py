"""DeepViT from checkpoint to engine: the one name under which every package is imported."""

__version__ = "0.1.0"

TYPE_CHECKING = False  # as typing has it, which takes as long to load as all of this
if TYPE_CHECKING:
    from .classify.classifier import Classifier

__all__ = ["Classifier", "__version__"]


def __getattr__(name: str) -> object:
    """Load what this package shows when somebody asks for it."""
    if name == "Classifier":
        from .classify.classifier import Classifier

        return Classifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
