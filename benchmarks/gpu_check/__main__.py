"""Prove on the GPU at hand whatever can be proved with what is installed: `python -m benchmarks.gpu_check [SECTION …]`.

Every section is a process of its own. benchmarks/results/gpu-NAME.json is rewritten while they run, so that a run that
was ended leaves what was found. Exits 1 where a check or a section failed, 3 where there is no GPU. With --fake the sections
run on fakes, which shows that they work and says nothing of any GPU; nothing is written but to --output.
"""

import argparse
import datetime
import pathlib
import shlex
import sys
import time
from collections.abc import Sequence

try:
    from deepvit.measure.bench.conditions import conditions_here
    from deepvit.runtime.trt.machine import this_machine

    from .record import RESULTS, GpuCheck, Section, code_hash, file_of, write
    from .sections import SECTIONS
    from .worker import run_section
except ModuleNotFoundError as error:
    package = {"PIL": "pillow"}.get(error.name or "", error.name)
    print(f"error: a check needs {package}, which is not installed here: pip install {package}", file=sys.stderr)
    raise SystemExit(3) from None

PROGRAM = "python -m benchmarks.gpu_check"
SHORTEST_S = 5.0  # no section begins with less time


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, with these arguments where they are given, else with the command line's."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _options(arguments)
    gpu = None if options.fake else this_machine().gpu
    if gpu is None and not options.fake:
        print(
            f"error: no NVIDIA GPU here ({this_machine().why_no_gpu}); --fake runs the sections on fakes",
            file=sys.stderr,
        )
        return 3
    output = options.output or (file_of(gpu) if gpu is not None else None)
    try:
        result = _run(arguments, options, gpu, output)
    except KeyboardInterrupt:  # what was found by then is in the file
        return 130
    if output is not None:
        print(f"wrote {output}")
    verdict = "all checks hold" if result.holds else "NOT all checks hold"
    print(f"{verdict}, on fakes: nothing is shown of a GPU" if options.fake else verdict)
    return 0 if result.holds else 1


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all if none is given"
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="after which nothing runs any more")
    parser.add_argument("--output", type=pathlib.Path, help="JSON file; benchmarks/results/gpu-NAME.json if not given")
    parser.add_argument("--fake", action="store_true", help="on fakes, without a GPU")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.sections) - set(SECTIONS)):
        parser.error(f"{', '.join(unknown)}: expected of {', '.join(SECTIONS)}")
    if options.fake and options.output and RESULTS in options.output.resolve().parents:
        parser.error(f"--output {options.output}: there lie results of GPUs, not of fakes; name another place")
    if not options.minutes > 0:
        parser.error(f"--minutes {options.minutes}: expected more than 0")
    return options


def _run(
    arguments: Sequence[str], options: argparse.Namespace, gpu: str | None, output: pathlib.Path | None
) -> GpuCheck:
    """Run the sections, write what was found after every finding, and return it."""
    deadline = time.monotonic() + 60 * options.minutes
    machine = conditions_here()
    result = GpuCheck(
        fake=gpu is None,
        gpu=gpu,
        code=code_hash(),
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        minutes=options.minutes,
        machine=machine if gpu is not None else machine.model_copy(update={"gpu": None, "driver": None}),
    )
    layers: dict[str, str] = {}
    command = shlex.join([*PROGRAM.split(), *arguments])

    def keep(section: Section) -> None:
        result.sections[-1] = section
        if output is not None:
            write(result, output, command, layers)

    names = [name for name in SECTIONS if name in options.sections or not options.sections]
    for index, name in enumerate(names):
        result.sections.append(Section(name=name, outcome="unfinished"))
        left = deadline - time.monotonic()
        # All sections together have too little time: each has its own. Those that were named share what there is.
        share = SECTIONS[name] / sum(SECTIONS[each] for each in names[index:])
        seconds = left * share if options.sections else min(left, SECTIONS[name])
        if left < SHORTEST_S:
            section = Section(name=name, outcome="skipped", why=f"the {options.minutes:g} minutes were over")
        else:
            section = run_section(name, is_fake=options.fake, seconds=seconds, layers=layers, told=keep)
        keep(section)
        _print(section, is_fake=options.fake)
    return result


def _print(section: Section, *, is_fake: bool) -> None:
    passed = sum(check.passed for check in section.checks)
    counts = f"{passed} of {len(section.checks)} checks hold, {len(section.figures)} figures"
    on_fakes = " on fakes" if is_fake else ""
    print(
        f"{section.name:12s} {section.outcome}{on_fakes}: {section.why or counts} ({section.seconds:.1f} s)", flush=True
    )
    for check in section.checks:
        if not check.passed:
            print(f"  FAILED {check.name}: {check.measured} {check.unit}, expected {check.bound}")
    for part in section.skipped:
        print(f"  skipped {part.what}: {part.why}")
    if section.traceback:
        print("  " + "\n  ".join(section.traceback.splitlines()[-12:]))


if __name__ == "__main__":
    sys.exit(main())
