"""Datasets that timm reads: tar files, Hugging Face, TensorFlow and torchvision datasets."""

import contextlib
import io
import pathlib
import threading
from typing import Any, BinaryIO

from deepvit.runtime.errors import InputError, MissingError, needed_for, printable
from deepvit.runtime.preprocess import FILES, DecodePolicy, image_faults

from .sources import MOST_IMAGE_BYTES


class TimmSource:
    """An indexable timm dataset, opened anew in every process.

    Args:
        dataset: A tar file, or timm's name with its scheme, and after a colon where the data lie: `hfds/imagenet-1k`,
            `torch/imagenet:/data`.
        split: "val" or "train".
        policy: Which images are decoded.
    """

    def __init__(self, dataset: str, split: str, policy: DecodePolicy = FILES) -> None:
        self.dataset, self.split, self.policy = dataset, split, policy
        self._opened: Any = None
        self._one_at_a_time = threading.Lock()  # a tar file has one place to read from
        reader = self._reader()
        if not hasattr(reader, "__getitem__"):
            raise InputError(
                f"dataset {dataset} is a stream; expected one that can be indexed, or a folder or tar file"
            )
        self._length = len(reader)
        if not self._length:
            raise InputError(f"dataset {dataset} has no images in its {split} split")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_one_at_a_time"} | {"_opened": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _one_at_a_time=threading.Lock())

    def _reader(self) -> Any:
        if self._opened is None:
            with needed_for(f"dataset {self.dataset}"):
                from timm.data import create_dataset

            name, _, root = self.dataset.partition(":")
            if name.endswith(".tar"):
                name, root = "", name
            split = "validation" if self.split == "val" else self.split
            try:
                self._opened = create_dataset(name, root=root or None, split=split, load_bytes=True)
            except ImportError as error:
                raise MissingError(f"dataset {self.dataset}: {error}; install what it needs") from error
            except (OSError, ValueError, RuntimeError, AssertionError, KeyError) as error:
                said = str(error).splitlines() or ["no such file, or nothing in it"]  # timm asserts without a text
                raise InputError(f"timm cannot open dataset {self.dataset}: {said[0]}") from error
            if hasattr(self._opened, "loader"):  # torchvision's, which decodes whatever Pillow can, of any size
                self._opened.loader = _open_file
        reader = getattr(self._opened, "reader", None)
        return self._opened if reader is None else reader

    def __len__(self) -> int:
        return self._length

    def name(self, index: int) -> str:
        reader = self._reader()
        return printable(str(reader.filename(index)) if hasattr(reader, "filename") else f"{self.dataset}#{index}")

    def fingerprint(self, index: int) -> str:  # noqa: ARG002 - one file holds all
        """Return that of the whole tar file; other datasets are taken to stay as they are."""
        path = pathlib.Path(self.dataset)
        if not path.is_file():
            return self.split
        status = path.stat()
        return f"{status.st_size}:{status.st_mtime_ns}"

    def read(self, index: int) -> tuple[bytes, int | None]:
        with self._one_at_a_time:
            return self._read(self._reopened(), index)

    def _reopened(self) -> Any:
        """Return the reader, which each worker opens: where it cannot, an InputError would be that of one image."""
        try:
            return self._reader()
        except InputError as error:
            raise MissingError(f"{error}; it could be opened before, run it again") from error

    def _read(self, reader: Any, index: int) -> tuple[bytes, int | None]:
        with image_faults(self.policy):
            image, label = reader[index]
            if hasattr(image, "read"):
                with contextlib.closing(image):
                    encoded = image.read(MOST_IMAGE_BYTES + 1)
                if len(encoded) > MOST_IMAGE_BYTES:
                    raise InputError(f"the file has more than the {MOST_IMAGE_BYTES} bytes that an image has at most")
                return encoded, int(label)
            self.policy.require(*image.size)
            stream = io.BytesIO()  # of digits say, which are kept as pixels: PNG keeps them
            image.save(stream, "PNG")
            return stream.getvalue(), int(label)


def _open_file(path: str) -> BinaryIO:
    return pathlib.Path(path).open("rb")
