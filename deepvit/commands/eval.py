"""`eval`: accuracy on labelled images."""

from typing import TYPE_CHECKING, Annotated

from deepvit.measure.evaluate.options import EvaluationRequest
from deepvit.runtime.errors import OutOfBoundsError
from deepvit.runtime.options import Help

from .terminal.console import out, print_next, write_json
from .terminal.following import after_eval
from .terminal.options import OUTPUT, RANDOM_WEIGHTS, Json
from .terminal.outputs import check_outputs
from .terminal.progress import note, progress_bar, steps

if TYPE_CHECKING:
    from deepvit.measure.evaluate.request import Contest
    from deepvit.measure.evaluate.result import Evaluation


def evaluate(
    request: EvaluationRequest,
    per_class: Annotated[bool, Help("Show the accuracy of every class, the worst first.", heading=OUTPUT)] = False,
    json_path: Json = None,
) -> None:
    """Measure top-1 and top-5 on labelled images, and the agreement with a reference; exit 1 where that is too low."""
    check_outputs(json=json_path, reads=(*request.models, request.weights.checkpoint, request.real_labels))
    with steps() as step:
        step(f"opening {', '.join(request.models)}")
        from deepvit.measure.evaluate.request import open_request, run_request

        contest = open_request(request)
    if any(each.has_random_weights for each in contest.models):
        note(RANDOM_WEIGHTS)
    with progress_bar("evaluating", len(contest.source)) as advance:
        found = run_request(request, contest, advance)
    first = contest.models[0]
    _show(found, per_class=per_class)
    if first.manifest is not None and contest.reference is None and len(found.models) == 1:
        last = first.manifest.parity[-1]
        out.print(
            f"at export: {last.stage} agreed with {last.against} on {last.top1_agreement:.2%} of {last.images} images"
        )
    write_json(json_path, found.to_json)
    _judge(contest, found)
    print_next(after_eval(request, has_random_weights=first.has_random_weights))


def _show(found: "Evaluation", *, per_class: bool) -> None:
    from deepvit.measure.evaluate.words import describe_classes, describe_corrupt, describe_evaluation

    for line in describe_evaluation(found):
        out.print(line)
    if per_class:
        for line in describe_classes(found):
            out.print(line)
    for line in describe_corrupt(found):
        note(line)


def _judge(contest: "Contest", found: "Evaluation") -> None:
    """Refuse results outside their bounds.

    Raises:
        OutOfBoundsError: Some are.
    """
    from deepvit.measure.evaluate.verdict import evaluation_breaches

    refused = []
    reference = None if contest.reference is None else contest.reference.precision
    for model, faults, result in zip(contest.models, contest.faults, found.models, strict=True):
        if breaches := [*faults, *evaluation_breaches(result, model.precision, reference)]:
            refused.append(f"{model.name}: {', '.join(breaches)}")
    if refused:
        against = "" if contest.reference is None else f" against {contest.reference.name}"
        raise OutOfBoundsError(f"not good enough{against}: {'; '.join(refused)}")
