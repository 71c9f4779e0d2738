"""DeepViT deployment from the command line.

Exit codes: 0 done; 1 it ran and the answer is no; 2 wrong usage or input; 3 something this machine lacks;
70 an error of ours; 130 interrupted.
"""

import errno
import logging
import pathlib
import shlex
import sys
import warnings
from collections.abc import Callable
from typing import Annotated

import typer
from typer.exceptions import TyperException

from deepvit import __version__
from deepvit.runtime.errors import PACKAGES, InputError, missing_library

from .attention import attention
from .bench import bench
from .build import build
from .classify import classify
from .compare import compare
from .doctor import doctor
from .eval import evaluate
from .export import export
from .inspect import inspect
from .models import models
from .package import package
from .report import report
from .sensitivity import sensitivity
from .terminal.console import out
from .terminal.ending import fail, fail_if_interrupted, fail_if_starved
from .terminal.groups import with_options
from .terminal.help import HelpfulCommand
from .terminal.last_line import fail_if_incomplete
from .terminal.options import with_ray_addresses
from .terminal.progress import JsonHandler, LineFormatter, is_json, log_as_json
from .terminal.signals import EXIT_INTERRUPTED, listen
from .terminal.spelling import NAME, program

EXIT_INTERNAL = 70
PROGRAM = pathlib.Path(shlex.split(program())[-1]).name  # deepvit or cli.py
COMMANDS: dict[Callable[..., None], tuple[str, str, str]] = {  # function → name, summary, example
    models: ("models", "List the variants: size, published accuracy, weights", ""),
    doctor: ("doctor", "Say what this machine can do, and what it lacks", "--json doctor.json"),
    export: (
        "export",
        "Turn a checkpoint into a verified ONNX artifact and engines",
        "deepvit_32 --fp16 --checkpoint deepvit_32.pth.tar --imagenet /data",
    ),
    sensitivity: (
        "sensitivity",
        "Rank the linears by what quantising each one costs",
        "deepvit_32 --checkpoint deepvit_32.pth.tar --imagenet /data --plot sensitivity.png",
    ),
    build: ("build", "Add an engine to an artifact", "artifacts/deepvit_32-fp16 --batch 1:8:64"),
    inspect: ("inspect", "Show what an artifact and its engines are made of", "artifacts/deepvit_32-fp16"),
    compare: (
        "compare",
        "Measure how far models are from PyTorch, without labels",
        "artifacts/deepvit_32-fp16 --images photographs --checkpoint deepvit_32.pth.tar",
    ),
    evaluate: (
        "eval",
        "Measure top-1 and top-5 on labelled images",
        "artifacts/deepvit_32-fp16/model.onnx --imagenet /data",
    ),
    classify: (
        "classify",
        "Tell the classes of any images, at any scale",
        "artifacts/deepvit_32-fp16 --images photographs --output predictions.parquet",
    ),
    bench: (
        "bench",
        "Time models and their peers side by side",
        "artifacts/deepvit_32-fp16 --batch-sizes 1,8,64 --plot bench.png",
    ),
    attention: (
        "attention",
        "Draw where a model looks; measure how alike its blocks are",
        "deepvit_32 --checkpoint deepvit_32.pth.tar --images photographs",
    ),
    report: (
        "report",
        "Write one HTML page of all that was measured",
        "artifacts/deepvit_32-fp16 --with eval.json --with bench.json",
    ),
    package: (
        "package",
        "Write a model repository for Triton and Kubernetes",
        "artifacts/deepvit_32-fp16 --triton repository --kubernetes manifests",
    ),
}

app = typer.Typer(
    help="DeepViT from checkpoint to verified ONNX artifact and TensorRT engine, evaluated on real images.\n\n"
    "Every command also takes --log-json (progress, warnings and errors as JSON lines) and --debug (tracebacks).",
    add_completion=PROGRAM == NAME,  # a shell completes what it finds by its name alone
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"{NAME} {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Take what comes before a command."""


for command, (name, summary, example) in COMMANDS.items():
    app.command(name, cls=HelpfulCommand, short_help=summary, epilog=f"{program()} {name} {example}".rstrip())(
        with_options(command)
    )


def _log_warnings() -> None:
    handler: logging.Handler = JsonHandler() if is_json() else logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=is_json())


def main(argv: list[str] | None = None) -> None:
    """Run one command and exit with its code; every error is one line on stderr, unless --debug is given."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    if "--log-json" in arguments:
        log_as_json()
    arguments = [argument for argument in arguments if argument not in ("--debug", "--log-json")] or ["--help"]
    arguments = list(with_ray_addresses(arguments))
    _log_warnings()
    warnings.simplefilter("ignore")
    listen()
    try:
        code = app(args=arguments, prog_name=PROGRAM, standalone_mode=False)
        if code == EXIT_INTERRUPTED:  # what Typer makes of Ctrl-C
            raise KeyboardInterrupt
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except (Exception, KeyboardInterrupt) as error:
        fail_if_interrupted(arguments, as_json=is_json())
        if debug:
            raise
        fail_if_starved(error, as_json=is_json())
        fail_if_incomplete(error, as_json=is_json())
        fail(*_line_and_code(error), as_json=is_json())


def _line_and_code(error: BaseException) -> tuple[str, int]:
    if isinstance(error, TyperException):
        return f"{error.format_message().rstrip('.')}; see --help", InputError.exit_code
    code = getattr(error, "exit_code", None)  # what the packages refuse knows its own
    if code is not None:
        return str(error), code
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in PACKAGES:
        return _line_and_code(missing_library("this command", error))  # loaded by another library, in the middle of it
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:  # whichever option it came from
        return f"a path is too long: {str(error.filename)[:60]}…; expected one that exists", InputError.exit_code
    if isinstance(error, PermissionError):  # likewise
        return f"{error.filename}: no right to look there; name another place", InputError.exit_code
    return f"internal: {type(error).__name__}: {error}; run it again with --debug and report it", EXIT_INTERNAL
