"""`classify` as one call: the model and the list opened, blocks run in one process or several, rows given in order."""

import contextlib
import dataclasses
import logging
import pathlib
import time
from collections.abc import Generator, Iterable, Iterator

from deepvit.images.decode import default_workers
from deepvit.measure.evaluate.cluster import ClusterJob, records_of_cluster
from deepvit.measure.models import open_model, require_same
from deepvit.progress import Advance
from deepvit.runtime.errors import printable

from .classifier import Classifier, ImageBlockDecoder, as_served, blocks_of
from .journal import Journal, open_journal
from .options import ClassificationRequest
from .processes import records_of_processes
from .rows import Record, Row, rows_of
from .sources.addresses import is_address, public
from .sources.listing import Listing

logger = logging.getLogger(__name__)
PLACES_TRIED = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What a request names, opened."""

    request: ClassificationRequest
    classifier: Classifier
    listing: Listing

    @property
    def blocks(self) -> int:
        return -(-self.listing.images // self.request.batch_size)

    @property
    def run(self) -> list[object]:
        """What the records depend on, besides the list and the code."""
        request = self.request
        answer = [self.classifier.top, request.answer.logits, request.batch_size, str(request.decoding)]
        return [self.classifier.model.contestant.key, *answer]

    def close(self) -> None:
        self.classifier.close()
        self.listing.close()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """All rows of a job, in the order of its list, read from its journal each time.

    Attributes:
        seconds: That this run took.
        images_run: In this run.
    """

    job: Job
    journal: Journal
    seconds: float
    images_run: int

    def rows(self) -> Iterator[Row]:
        """Yield them.

        Raises:
            InputError: The journal was damaged since it was written.
        """
        for block in blocks_of(self.job.listing, self.job.request.batch_size):
            yield from rows_of(block.entries, self.journal.record(block.number), self.job.classifier.class_names)


def open_request(request: ClassificationRequest) -> Job:
    """Open what a request names, and list its images.

    Raises:
        InputError, MissingError, DeviceError: A model or source that cannot be opened.
    """
    with contextlib.ExitStack() as on_failure:
        classifier = open_classifier(request)
        on_failure.callback(classifier.close)
        listing = Listing(request.images, request.column, request.limit)
        on_failure.pop_all()
    return Job(request=request, classifier=classifier, listing=listing)


def open_classifier(request: ClassificationRequest) -> Classifier:
    """Open the model of a request; see `open_model`."""
    model = open_model(request.model, as_served(request.sessions), request.weights, request.preprocess_as)
    return Classifier(model, answer=request.answer, policy=request.decoding)


@contextlib.contextmanager
def classified(job: Job, progress: Advance) -> Iterator[Found]:
    """Run what is missing, and give what was found; when the block ends well, nothing of it is kept.

    Raises:
        InputError: The same classification is running.
        MissingError: The disk is full, or a process was killed.
    """
    request, start = job.request, time.perf_counter()
    with open_journal(job.run, job.listing.sha256, job.blocks, resume=request.resume) as journal:
        missing = journal.missing()
        if request.resume:
            logger.warning("resuming: %d of %d blocks are there", job.blocks - len(missing), job.blocks)
        done, run = job.listing.images - sum(_size(job, number) for number in missing), 0
        with contextlib.closing(_records(job, missing)) as records:
            for number, record in records:
                journal.write(number, record)
                run += _size(job, number)
                progress(done + run, job.listing.images)
        yield Found(job=job, journal=journal, seconds=time.perf_counter() - start, images_run=run)


def _size(job: Job, number: int) -> int:
    size = job.request.batch_size
    return min(size, job.listing.images - number * size)


def _records(job: Job, numbers: Iterable[int]) -> Generator[tuple[int, Record], None, None]:
    request = job.request
    blocks = blocks_of(job.listing, request.batch_size, numbers)
    workers = default_workers(job.listing.images) if request.workers is None else request.workers
    if request.shards.is_alone:
        for block, record in job.classifier.records(blocks, workers):
            yield block.number, record
        return
    count = request.shards.count
    opener = ClassifierOpener(request, job.classifier.model.contestant.key, count)
    if request.shards.ray is None:
        yield from records_of_processes(opener, request.shards, blocks, -(-workers // count))
        return
    decode = ImageBlockDecoder(job.classifier.model.preprocessing, request.decoding)
    cluster_job = ClusterJob(decode=decode, opener=opener, place=_place(job.listing))
    for number, _, record in records_of_cluster(request.shards.ray, request.shards.actors, cluster_job, blocks):
        yield number, record


def _place(listing: Listing) -> str | None:
    """Return the file of an image that is here, so that every node must have it; None where there is none."""
    places = (entry.place for entry in listing.entries(range(PLACES_TRIED)))
    return next((place for place in places if not is_address(place) and pathlib.Path(place).exists()), None)


@dataclasses.dataclass(frozen=True)
class ClassifierOpener:
    """Opens the model of a request in another process; `key` says what the records must come from.

    Raises:
        InputError: Another model lies there now.
    """

    request: ClassificationRequest
    key: list[str]
    share: int

    @contextlib.contextmanager
    def __call__(self, share: int | None = None) -> Iterator[Classifier]:
        sessions = self.request.sessions.sharing(share or self.share)
        with contextlib.closing(open_classifier(dataclasses.replace(self.request, sessions=sessions))) as classifier:
            require_same(self.request.model, classifier.model.contestant.key, self.key)
            yield classifier


def sources_text(request: ClassificationRequest) -> str:
    """Return what the user called the images, without passwords."""
    return ", ".join(printable(public(source)) for source in request.images)
