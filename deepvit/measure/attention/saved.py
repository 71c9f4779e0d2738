"""The maps themselves in a file, for analyses of one's own."""

import contextlib
import pathlib
import zipfile
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from deepvit.runtime.files import replaced, require_room, write_error

from .analysis import AttentionMaps


class MapsFile:
    """An .npz file of maps that grows image by image, so that those of one image are in memory; numpy.load opens it.

    `images` are the names of the I images, `model` is whose maps they are, `reattends` (P,) bool says which of its P
    blocks have re-attention. For image i there is `before.i`, the softmaxed maps, and, where any block has
    re-attention, `after.i`, those that multiply the values: (P, H, N, N) float32 each, as in `AttentionMaps`.

    Args:
        path: Where it will lie.
        archive: What is written.
        images: How many will be added, at most.
    """

    def __init__(self, path: pathlib.Path, archive: zipfile.ZipFile, images: int) -> None:
        self._path, self._archive, self._most = path, archive, images
        self._names: list[str] = []
        self._reattends: tuple[bool, ...] = ()

    def add(self, name: str, maps: AttentionMaps) -> None:
        """Write the maps of the next image.

        Raises:
            MissingError: Before the first one, where the disk has no room for all.
        """
        arrays = {"before": maps.before} | ({"after": maps.after} if any(maps.reattends) else {})
        if not self._names:
            require_room(self._path, self._most * sum(4 * each.size for each in arrays.values()), "‹maps›")
        for kind, values in arrays.items():
            self._write(f"{kind}.{len(self._names)}", values.astype(np.float32))
        self._names.append(name)
        self._reattends = maps.reattends

    def finish(self, model: str) -> None:
        """Write what the maps are of."""
        self._write("images", np.array(self._names))
        self._write("reattends", np.array(self._reattends))
        self._write("model", np.array(model))

    def _write(self, name: str, values: npt.NDArray[np.generic]) -> None:
        with self._archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
            np.lib.format.write_array(stream, values, allow_pickle=False)


@contextlib.contextmanager
def maps_file(path: pathlib.Path | None, images: int) -> Iterator[MapsFile | None]:
    """Give a file for the maps of at most `images` images, there whole when the block ends well, else as it was.

    Raises:
        InputError: It cannot be written.
        MissingError: The disk is full.
    """
    if path is None:
        yield None
        return
    try:
        with replaced(path) as staged, zipfile.ZipFile(staged, "w") as archive:
            yield MapsFile(path, archive, images)
    except OSError as error:
        raise write_error(path, "‹maps›", error) from error
