"""What an analysis of attention can be asked for. Options check themselves."""

import dataclasses
import pathlib
from typing import Annotated, ClassVar

from deepvit.runtime.errors import InputError
from deepvit.runtime.options import Help
from deepvit.runtime.preprocess import FILES, DecodePolicy


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttentionOptions:
    """What is analysed and drawn.

    Attributes:
        dataset: A folder of images; the bundled photographs where None.
        count: At most so many of them.
        decoding: Which of them are decoded.
        drawn: Of how many pictures are made.
        block: Whose heads are drawn one by one; the last with re-attention where None.
        threshold: From which similarity on a block counts as similar to the one before.
        output: Folder for the pictures.
        maps: File for the maps themselves, see `MapsFile`.
    """

    heading: ClassVar[str] = "Images"

    dataset: Annotated[
        str | None, Help("Any folder of images; the bundled photographs if not given.", name="images")
    ] = None
    count: Annotated[int, Help("Analyse at most so many images.", min=1, max=10_000)] = 16
    decoding: DecodePolicy = FILES
    drawn: Annotated[int, Help("Draw pictures of so many of the images.", min=0, max=1000, heading="Pictures")] = 4
    block: Annotated[
        int | None, Help("Block whose heads are drawn; the last with re-attention if not given.", heading="Pictures")
    ] = None
    threshold: Annotated[float, Help("Similarity from which on a block counts as like the one before.")] = (
        0.9  # the paper's
    )
    output: Annotated[pathlib.Path, Help("Folder for the pictures.", heading="Pictures")] = pathlib.Path("attention")
    maps: Annotated[pathlib.Path | None, Help("Save the maps of every image to this .npz file.", heading="Output")] = (
        None
    )

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise InputError(f"‹threshold› {self.threshold}: expected 0 to 1")
        if self.maps is not None and (self.maps.is_dir() or not self.maps.parent.is_dir()):
            raise InputError(f"‹maps› {self.maps} cannot be written: expected a file in an existing folder")
