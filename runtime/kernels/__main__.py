"""`python -m deepvit.runtime.kernels FOLDER`: compile every kernel for every kind of GPU, and say what each needs."""

import os
import pathlib
import sys
from collections.abc import Iterator

from ..errors import MissingError
from .cubins import MANIFEST, Cubin, write_cubins


def table(cubins: list[Cubin]) -> Iterator[str]:
    """Yield a line for every kernel: registers and spilled bytes of a thread on each kind of GPU."""
    yield "registers of a thread, and bytes spilled, on GPUs of compute capability"
    yield " ".join(f"{each.compute_capability:>9}" for each in cubins)
    for name in max((each.resources for each in cubins), key=len):
        found = [each.resources.get(name) for each in cubins]
        cells = ("" if own is None else f"{own.registers} {own.spill_store_bytes or ''}".strip() for own in found)
        yield " ".join(f"{cell:>9}" for cell in cells) + f"  {name}"


def main(folder: pathlib.Path) -> int:
    try:
        cubins = write_cubins(folder, os.cpu_count() or 1)
    except MissingError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write("\n".join([*table(cubins), f"in {folder}, listed in {MANIFEST}"]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
