"""What the packages refuse; each error knows the exit code that the command line documents.

In text for people, of errors and of whatever else a package says, ‹batch› is a parameter by its name and ‹deepvit› the
program of the command line, as in "no engine; build it: ‹deepvit› build ARTIFACT". Whoever shows the text spells them
for its own users, as deepvit/commands/terminal/spelling.py does.
"""

import contextlib
import importlib.util
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # nothing that may be missing: the line that says so is made here
    import numpy as np
    import numpy.typing as npt
    import pydantic


# Control characters, ends of lines and paragraphs, what turns the direction of writing, and bytes that are not UTF-8.
STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class InputError(ValueError):
    """A file, folder or option that cannot be used; one line: what, expected, got, what to do."""

    exit_code = 2


class MissingError(RuntimeError):
    """Something that this machine lacks: a package, a provider, a GPU, room on the disk."""

    exit_code = 3


# What exports, and runs variants: modules, and the packages that they come in.
PYTORCH_MODULES = ("torch", "torchvision", "timm", "onnxscript", "onnx_ir", "safetensors")
PYTORCH = " ".join(PYTORCH_MODULES).replace("_", "-")
PACKAGES = {  # module that can be left out → what pip installs it by, all of which are on PyPI
    **dict.fromkeys(PYTORCH_MODULES, PYTORCH),
    "cuda": "cuda-python",
    "fsspec": "fsspec",
    "gdown": "gdown",
    "jinja2": "jinja2",
    "markupsafe": "jinja2",
    "matplotlib": "matplotlib",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "pyarrow": "pyarrow",
    "ray": "ray",
    "polygraphy": "'polygraphy>=0.53'",
    "scipy": "scipy",
    "tritonclient": "tritonclient",
    "yaml": "pyyaml",
}


def missing_library(purpose: str, error: ImportError) -> MissingError:
    """Return what to say where `purpose` ("drawing") needs a library that is not installed, or cannot be loaded."""
    name = (error.name or "").partition(".")[0]
    install = f"pip install {PACKAGES.get(name, name)}"
    if isinstance(error, ModuleNotFoundError) and name:
        return MissingError(f"{purpose} needs {name}, which is not installed; {install}")
    return MissingError(f"{purpose} needs {name or 'a library'}, which cannot be loaded: {error}; {install}".rstrip())


@contextlib.contextmanager
def needed_for(purpose: str) -> Iterator[None]:
    """Import within it what `purpose` needs and not every installation has.

    Raises:
        MissingError: It is not installed; with the line that installs it.
    """
    try:
        yield
    except ImportError as error:
        raise missing_library(purpose, error) from error


def require_installed(purpose: str, *modules: str) -> None:
    """Refuse what `purpose` needs and is not here, without importing any of it.

    Raises:
        MissingError: One of the modules is not installed; with the line that installs it.
    """
    for name in modules:
        if importlib.util.find_spec(name) is None:
            raise missing_library(purpose, ModuleNotFoundError(f"No module named {name!r}", name=name))


class DeviceError(RuntimeError):
    """TensorRT or CUDA refused on this machine: out of memory, a plan of another version, a driver too old."""

    exit_code = 3


class OutOfBoundsError(RuntimeError):
    """It ran, and the answer is no: numbers outside their bound, or logits that are not finite."""

    exit_code = 1


class NonFiniteError(OutOfBoundsError):
    """Logits that are not finite; `logits` (B, classes) has them, for who counts them image by image."""

    def __init__(self, message: str, logits: "npt.NDArray[np.float32]") -> None:
        super().__init__(message)
        self.logits = logits


def printable(text: str, keep: str = "") -> str:
    """Return `text` as a terminal and a report can show it: in escapes where it would steer them, but for `keep`."""
    return STEERING.sub(
        lambda found: found[0] if found[0] in keep else found[0].encode("unicode_escape").decode("ascii"), text
    )


def first_of(texts: Sequence[str], count: int, separator: str = ", ") -> str:
    """Return the first `count` of `texts` in one line, and how many there are besides: `a, b and 3 more`."""
    more = f" and {len(texts) - count} more" if len(texts) > count else ""
    return separator.join(texts[:count]) + more


def validation_faults(error: "pydantic.ValidationError") -> list[str]:
    """Return what pydantic refused in a file, one text each: where in it, and why."""
    return [f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}" for fault in error.errors()]
