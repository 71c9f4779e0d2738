"""`classify`: the classes of any images, at any scale."""

import dataclasses
import pathlib
from typing import Annotated

from deepvit.classify.options import ClassificationRequest
from deepvit.runtime.errors import OutOfBoundsError
from deepvit.runtime.options import Help

from .terminal.console import out, print_next, write_json
from .terminal.following import after_classify
from .terminal.options import OUTPUT, RANDOM_WEIGHTS, Json
from .terminal.outputs import check_outputs
from .terminal.progress import note, progress_bar, steps
from .terminal.spelling import spelled

Output = Annotated[
    pathlib.Path | None, Help("Write a row for each image: .jsonl, .csv or .parquet, by the suffix.", heading=OUTPUT)
]


def classify(
    request: ClassificationRequest,
    output: Output = None,
    overwrite: Annotated[bool, Help("Replace the file of rows where there is one.", heading=OUTPUT)] = False,
    json_path: Json = None,
) -> None:
    """Tell the classes of images; those that cannot be used are rows with an error, and exit 0 unless all are."""
    check_outputs(json=json_path, output=output, reads=(request.model, request.weights.checkpoint, *request.images))
    with steps() as step:
        step(f"opening {request.model}, and listing the images")
        from deepvit.classify.outputs import require_writable, write_rows
        from deepvit.classify.request import classified, open_request
        from deepvit.classify.sources.addresses import public_text
        from deepvit.classify.words import Tally, describe_classification, describe_rows, describe_unusable

        if output is not None:
            require_writable(output, overwrite=overwrite)
        job = open_request(request)
    if job.classifier.model.has_random_weights:
        note(RANDOM_WEIGHTS)
    tally = Tally()
    with progress_bar("classifying", job.listing.images) as advance, classified(job, advance) as found:
        rows = (dataclasses.replace(row, error=row.error and spelled(row.error)) for row in tally.count(found.rows()))
        if output is not None:
            write_rows(output, rows, with_logits=request.answer.logits)
        else:
            for _ in rows:
                pass
    result = tally.result(found, None if output is None else str(output))
    for line in describe_rows(tally):
        out.print(line)
    for line in describe_classification(result):
        out.print(line)
    for line in describe_unusable(result):
        note(line)
    write_json(json_path, lambda command: result.to_json(public_text(command)))
    if result.classified == 0:
        raise OutOfBoundsError(f"none of the {result.listed} images could be used; the rows say why")
    print_next(after_classify(request, output))
