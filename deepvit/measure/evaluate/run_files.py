"""The files of an evaluation: what it has found so far, so that another can go on, or need not run the reference."""

import contextlib
import dataclasses
import hashlib
import pathlib
from collections.abc import Iterator, Sequence

from deepvit.images import blocks
from deepvit.images.sources import ImageSource, fingerprint_sha256
from deepvit.runtime.files import cache_folder

from ..database import content_key, kept_folder, sole_database
from ..models import Contestant
from .crop_cache import crops_key
from .options import EvaluationOptions, Keeping

FOLDER = "evaluation"


@contextlib.contextmanager
def options_with_files(
    options: EvaluationOptions,
    models: Sequence[Contestant],
    reference: Contestant | None,
    source: ImageSource,
    keeping: Keeping,
) -> Iterator[EvaluationOptions]:
    """Give `options` with the files of this evaluation in the cache folder; its journal goes when the block ends well.

    The files are found by the models, what runs them, their preprocessing, the code and Pillow that do it, the images
    (name, size, time of change), the batch size, the reference, and the code that scores. What is in them counts for
    images of the same content alone.

    Raises:
        InputError: The same evaluation is running, or the cache folder cannot be used though it was asked for.
        MissingError: The disk is full.
    """
    is_asked = keeping.resume or keeping.crops
    folder = kept_folder(FOLDER, "this evaluation cannot be resumed", is_asked=is_asked)
    if folder is None:
        yield options
        return
    listed = fingerprint_sha256(source)
    everyone = [*models, *([] if reference is None else [reference])]
    crops_keys = [crops_key(listed, each.preprocessing) for each in everyone]
    contest = [[each.key for each in models], reference and reference.key, crops_keys, options.batch_size]
    run = content_key([contest, _code_sha256()])
    journal = folder / f"run-{run}.sqlite"
    logits = None
    if reference is not None:
        logits = folder / f"logits-{content_key([reference.key, crops_keys[-1], options.batch_size])}.sqlite"
    with sole_database(journal, "the same evaluation is running", resume=keeping.resume):
        yield dataclasses.replace(
            options,
            journal=journal,
            reference_logits=logits,
            crops=cache_folder(FOLDER, "crops") if keeping.crops else None,
        )


def _code_sha256() -> str:
    """Return the hash of this package and of the blocks, other versions of which may note other things of an image."""
    files = sorted([*pathlib.Path(__file__).parent.glob("*.py"), pathlib.Path(blocks.__file__)])
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
