"""`doctor`: what this machine can do."""

import dataclasses

from .terminal.console import hanging, out, print_next, write_json
from .terminal.following import first_export
from .terminal.options import Json
from .terminal.outputs import check_outputs
from .terminal.progress import steps
from .terminal.spelling import spelled


def doctor(json_path: Json = None) -> None:
    """Say what this machine can do, and what is missing for the rest."""
    check_outputs(json=json_path)
    with steps() as step:
        step("looking at this machine")
        from deepvit.measure.doctor import examine
        from deepvit.measure.results.machine import diagnosis_of

        findings = [
            dataclasses.replace(each, ability=spelled(each.ability), detail=spelled(each.detail)) for each in examine()
        ]
    for finding in findings:
        out.print(hanging(f"{'yes' if finding.works else 'no ':3}  {finding.ability}: {finding.detail}", 5 * " "))
    write_json(json_path, diagnosis_of(findings).to_json)
    print_next(first_export())
