"""What a classification has found so far, block by block: a killed one goes on from there.

Only the process that was started writes here, whoever runs the blocks: a block that is there is done, and done once.
"""

import array
import contextlib
import hashlib
import pathlib
from collections.abc import Iterator

import PIL

from deepvit.images import blocks, decode
from deepvit.measure.database import content_key, kept_folder, sole_database
from deepvit.measure.evaluate.block_store import BlockStore
from deepvit.runtime import preprocess
from deepvit.runtime.errors import InputError

from .rows import Record

FOLDER = "classification"
BUSY = "the same classification is running"


class Journal:
    """The records of a list's blocks, each there whole or not at all.

    Args:
        path: The file; where None, one that goes with this process.
        sha256: Of the list; a record counts for the list that it was made from alone.
        count: How many blocks the list has.

    Raises:
        InputError: The file cannot be used.
    """

    def __init__(self, path: pathlib.Path | None, sha256: str, count: int) -> None:
        self.path, self.count = path, count
        self._list = bytes.fromhex(sha256)
        self._store = BlockStore(path)

    def missing(self) -> "array.array[int]":
        """Return the numbers of the blocks that have no record, or a damaged one, which is taken out."""
        numbers: array.array[int] = array.array("Q")
        for number in range(self.count):
            if not self._store.has(number):
                numbers.append(number)
            elif self._store.read(number, self._list) is None:
                self._store.remove(number)
                numbers.append(number)
        return numbers

    def write(self, number: int, record: Record) -> None:
        """Add a block.

        Raises:
            MissingError: The disk is full.
        """
        self._store.write(number, self._list, record)

    def record(self, number: int) -> Record:
        """Return what is kept of a block.

        Raises:
            InputError: It was lost or damaged since it was written.
        """
        record = self._store.read(number, self._list)
        if record is None:
            raise InputError(f"{self.path}: block {number} was lost or damaged meanwhile; run it again with ‹resume›")
        return record

    def close(self) -> None:
        self._store.close()


@contextlib.contextmanager
def open_journal(run: list[object], sha256: str, count: int, *, resume: bool) -> Iterator[Journal]:
    """Give the journal of a run; it is removed when the block ends well.

    Args:
        run: What the records depend on besides the list and the code: the model, what runs it, the options.
        sha256: Of the list.
        count: How many blocks it has.
        resume: Whether to go on with what is there.

    Raises:
        InputError: The same run is under way, or the cache folder cannot be used and is needed to resume.
    """
    folder = kept_folder(FOLDER, "this classification cannot be resumed", is_asked=resume)
    if folder is None:
        with contextlib.closing(Journal(None, sha256, count)) as journal:
            yield journal
        return
    path = folder / f"run-{content_key([run, sha256, _code_sha256(), PIL.__version__])}.sqlite"
    with sole_database(path, BUSY, resume=resume), contextlib.closing(Journal(path, sha256, count)) as journal:
        yield journal


def _code_sha256() -> str:
    """Return the hash of the code that records depend on, other versions of which may note other things of an image."""
    here = pathlib.Path(__file__).parent
    files = [*here.rglob("*.py"), *pathlib.Path(preprocess.__file__).parent.glob("*.py")]
    files += [pathlib.Path(str(each.__file__)) for each in (blocks, decode)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()
