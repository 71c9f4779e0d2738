"""DeepViT deployment from the command line: parse → options → one library call → print → exit code.

Exit codes: 0 done; 1 it ran and the answer is no; 2 wrong usage or input; 3 something this machine lacks;
70 an error of ours; 130 interrupted.
"""

import enum
import json
import logging
import pathlib
import shlex
import signal
import sys
import warnings
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import rich.table
import typer
from typer.exceptions import TyperException

from console import build_bar, check_json, err, images_bar, out, print_next, steps, write_json
from runtime.errors import InputError

if TYPE_CHECKING:
    from export.engine_options import EngineOptions
    from export.open_model import OpenedModel, WeightOptions
    from runtime.artifact import Artifact

EXIT_INTERNAL, EXIT_INTERRUPTED, EXIT_TERMINATED = 70, 130, 143
E = TypeVar("E", bound=enum.Enum)
RANDOM_WEIGHTS = "random weights: these numbers say nothing about accuracy"

app = typer.Typer(
    help="DeepViT from checkpoint to verified ONNX artifact and TensorRT engine, evaluated on real images.",
    add_completion=False,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Json = Annotated[pathlib.Path | None, typer.Option("--json", help="Write the result as JSON to this file.")]
Checkpoint = Annotated[pathlib.Path | None, typer.Option(help="Weights: .pth.tar, .pth, .pt or .safetensors.")]
Pretrained = Annotated[bool, typer.Option("--pretrained", help="Fetch the published weights into the cache.")]
NoEma = Annotated[bool, typer.Option("--no-ema", help="Take the plain weights, not their moving average.")]
ImgSize = Annotated[int | None, typer.Option(help="Side of the images; resizes the position embedding.")]
ComputeCapability = Annotated[
    str | None, typer.Option(help="For tensorrt-rtx: the GPUs to build for, as in 8.9,12.0; else the one here.")
]
Provider = Annotated[str | None, typer.Option(help="ONNX Runtime's: cpu, cuda, tensorrt, tensorrt-rtx, ….")]
TrustUnverified = Annotated[bool, typer.Option("--trust-unverified", help="Load a plan that has no manifest.")]
AllowHostCode = Annotated[
    bool, typer.Option("--allow-host-code", help="Let a version-compatible plan run its own code.")
]
NumClasses = Annotated[int | None, typer.Option(help="Number of classes; a checkpoint says it itself.")]


@app.command(epilog="Example: python cli.py models")
def models(json_path: Json = None) -> None:
    """List the variants: architecture, parameters, published accuracy, aliases, checkpoint."""
    from deepvit.variants import VARIANTS

    table = rich.table.Table(box=None, pad_edge=False)
    for column in ("variant", "blocks", "re-attention", "dim", "stem", "image", "parameters", "top-1", "weights"):
        table.add_column(column, no_wrap=True)
    rows = []
    for row in VARIANTS.values():
        arch = row.architecture
        weights = "published" if row.drive_id else "bundled" if row.bundled_weights else "–"
        table.add_row(
            row.name, f"{arch.depth}", f"last {arch.reattention_blocks}" if arch.reattention_blocks else "none",
            f"{arch.embed_dim}", arch.stem.value, f"{row.img_size}", f"{row.parameters / 1e6:.1f} M",
            "–" if row.top1 is None else f"{row.top1:.2f}", weights,
        )  # fmt: skip
        rows.append(
            {
                "name": row.name, "aliases": row.aliases, "depth": arch.depth, "embed_dim": arch.embed_dim,
                "num_heads": arch.num_heads, "reattention_blocks": arch.reattention_blocks, "stem": arch.stem.value,
                "img_size": row.img_size, "num_classes": row.num_classes, "crop_pct": row.crop_pct,
                "interpolation": row.interpolation, "mean": row.mean, "std": row.std, "parameters": row.parameters,
                "published_top1": row.top1, "checkpoint": row.checkpoint_url,
            }
        )  # fmt: skip
    out.print(table)
    for row in VARIANTS.values():
        for alias in row.aliases:
            out.print(f"{row.name} is {alias} in the original code")
    out.print("top-1: percent on ImageNet-1k as published; the digits models are ours, of handwritten digits")
    write_json(json_path, lambda: json.dumps(rows, indent=2))
    print_next("python cli.py export deepvit_32 --fp16")


@app.command(epilog="Example: python cli.py doctor --json doctor.json")
def doctor(json_path: Json = None) -> None:
    """Say what this machine can do, and what is missing for the rest."""
    from runtime.doctor import examine

    findings = examine()
    table = rich.table.Table(box=None, pad_edge=False)
    for column in ("can", "", "how it stands"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        table.add_row(finding.ability, "yes" if finding.works else "no", finding.detail)
    out.print(table)
    write_json(json_path, lambda: json.dumps([finding.as_dict() for finding in findings], indent=2))
    print_next("python cli.py export deepvit_32 --fp16")


@app.command(epilog="Example: python cli.py export deepvit_32 --fp16 --checkpoint deepvit_32.pth.tar --imagenet /data")
def export(
    variant: Annotated[str, typer.Argument(help="A variant or an alias; see: python cli.py models")],
    fp32: Annotated[bool, typer.Option("--fp32", help="Arithmetic in FP32.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Arithmetic in FP16; the default.")] = False,
    bf16: Annotated[bool, typer.Option("--bf16", help="Arithmetic in BF16.")] = False,
    checkpoint: Checkpoint = None,
    pretrained: Pretrained = False,
    no_ema: NoEma = False,
    batch: Annotated[str, typer.Option(help="MIN:OPT:MAX batch sizes.")] = "1:8:64",
    target: Annotated[str, typer.Option(help="auto, onnx, cpu, tensorrt or tensorrt-rtx.")] = "auto",
    imagenet: Annotated[str | None, typer.Option(help="Images that prove the export; else the bundled ones.")] = None,
    parity_images: Annotated[int | None, typer.Option(help="How many of them.")] = None,
    output: Annotated[
        pathlib.Path | None, typer.Option(help="Folder; artifacts/VARIANT-PRECISION if not given.")
    ] = None,
    opset: Annotated[int | None, typer.Option(help="ONNX opset; 20, for BF16 22.")] = None,
    input_form: Annotated[str, typer.Option("--input", help="float32 (preprocessed) or uint8 (crops).")] = "float32",
    mix: Annotated[str | None, typer.Option(help="How heads are mixed: conv, matmul or matmul-value.")] = None,
    pad_head_dim: Annotated[
        bool | None, typer.Option("--pad-head-dim/--no-pad-head-dim", help="To a multiple of 8; on for TensorRT.")
    ] = None,
    img_size: ImgSize = None,
    num_classes: NumClasses = None,
    compute_capability: ComputeCapability = None,
    json_path: Json = None,
) -> None:
    """Fold, export to ONNX at the precision asked for, prove every stage, write the artifact, build its engines."""
    from deepvit.variants import find_variant
    from export.options import ExportOptions, GraphOptions, InputForm, MixForm, Precision, Target, batch_from_text

    check_json(json_path)
    chosen = [p for p, given in ((Precision.FP32, fp32), (Precision.FP16, fp16), (Precision.BF16, bf16)) if given]
    if len(chosen) > 1:
        raise InputError(f"{' and '.join('--' + p.value for p in chosen)} exclude each other; give one of them")
    precision = chosen[0] if chosen else Precision.FP16
    graph = GraphOptions(
        precision=precision,
        target=_choice("--target", target, Target),
        batch=batch_from_text(batch),
        input_form=_choice("--input", input_form, InputForm),
        opset=opset,
        mix=None if mix is None else _choice("--mix", mix, MixForm),
        pad_head_dim=pad_head_dim,
    )
    name = f"{find_variant(variant).name}-{precision.value}"
    options = ExportOptions(
        graph=graph, output=output or pathlib.Path("artifacts") / name, imagenet=imagenet, parity_images=parity_images
    )
    from export.engine_choice import choose_engines
    from export.engine_options import compute_capabilities_from_text
    from export.model_source import load_model
    from export.pipeline import export_artifact
    from runtime.describe import describe_export
    from runtime.machine import this_machine

    engines = choose_engines(graph.target, compute_capabilities_from_text(compute_capability), this_machine())
    weights = _weights(checkpoint, pretrained, no_ema, img_size)
    loaded = load_model(weights.for_variant(variant, num_classes))
    with steps() as step:
        artifact = export_artifact(loaded, options, step)
    for line in describe_export(artifact.manifest):
        out.print(line)
    if artifact.manifest.has_random_weights:
        out.print(RANDOM_WEIGHTS)
    record = artifact.manifest.files["model.onnx"]
    out.print(f"wrote {artifact.folder}/model.onnx, {record.bytes / 1e6:.1f} MB, SHA-256 {record.sha256}")
    for choice in engines.build:
        artifact = _build(artifact, choice, imagenet)
    if skipped := engines.describe(artifact.folder):
        out.print(skipped)
    write_json(json_path, artifact.manifest.to_json)
    written = artifact.folder / _runnable(artifact)
    print_next(f"python cli.py eval {shlex.quote(str(written))} --imagenet {shlex.quote(imagenet or '/data')}")


@app.command(epilog="Example: python cli.py build artifacts/deepvit_32-fp16 --batch 1:8:64")
def build(
    artifact: Annotated[pathlib.Path, typer.Argument(help="An artifact that was exported here or elsewhere.")],
    target: Annotated[str, typer.Option(help="tensorrt, tensorrt-rtx, or auto: each that can be built here.")] = "auto",
    compute_capability: ComputeCapability = None,
    batch: Annotated[str | None, typer.Option(help="MIN:OPT:MAX of the profile; the artifact's if not given.")] = None,
    workspace: Annotated[int | None, typer.Option(help="MiB of scratch memory that a layer may take.")] = None,
    optimization_level: Annotated[int | None, typer.Option(help="0 builds fastest, 5 searches longest.")] = None,
    hardware_compatible: Annotated[
        str, typer.Option(help="none, same-compute-capability or ampere-plus: where the engine runs.")
    ] = "none",
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="Later TensorRT of the same major can load it, by host code.")
    ] = False,
    weight_stripped: Annotated[
        bool,
        typer.Option("--weight-stripped", help="Leave the weights in model.onnx, and fit them in when it is loaded."),
    ] = False,
    timing_cache: Annotated[
        pathlib.Path | None, typer.Option(help="File of measured kernels; one in the cache folder if not given.")
    ] = None,
    imagenet: Annotated[str | None, typer.Option(help="Images that prove the engine; else the bundled ones.")] = None,
    json_path: Json = None,
) -> None:
    """Build an engine for an artifact on this machine, check its precision and its answers, and add it."""
    from export.engine_choice import choose_engines
    from export.engine_options import EngineOptions, compute_capabilities_from_text
    from export.options import Target, batch_from_text
    from runtime.artifact import HardwareCompatibility
    from runtime.errors import MissingError
    from runtime.machine import this_machine
    from runtime.session import artifact_of

    check_json(json_path)
    opened = artifact_of(artifact)
    kind = _choice("--target", target, Target)
    if kind in (Target.ONNX, Target.CPU):
        raise InputError(f"--target {target} builds no engine; give tensorrt, tensorrt-rtx or auto")
    capabilities = compute_capabilities_from_text(compute_capability)
    engines = choose_engines(kind, capabilities, this_machine())
    if not engines.build:
        raise MissingError(f"no engine can be built here: {'; '.join(engines.skipped)}")
    for choice in engines.build:
        options = EngineOptions(
            backend=choice.backend,
            compute_capabilities=choice.compute_capabilities,
            batch=None if batch is None else batch_from_text(batch),
            workspace_bytes=None if workspace is None else workspace << 20,
            optimization_level=optimization_level,
            hardware_compatible=_choice("--hardware-compatible", hardware_compatible, HardwareCompatibility),
            version_compatible=version_compatible,
            weight_stripped=weight_stripped,
            timing_cache=timing_cache,
        )
        opened = _build(opened, options, imagenet)
    write_json(json_path, opened.manifest.to_json)
    print_next(f"python cli.py inspect {shlex.quote(str(opened.folder))}")


def _build(artifact: "Artifact", options: "EngineOptions", imagenet: str | None) -> "Artifact":
    """Build one engine and say what came of it."""
    from export.add_engine import add_engine
    from runtime.describe import describe_built

    with build_bar(f"building the {options.backend.value} engine") as bar:
        built = add_engine(artifact.folder, options, bar, imagenet)
    for line in describe_built(built.manifest, options.backend.plan):
        out.print(line)
    return built


def _runnable(artifact: "Artifact") -> str:
    """Return the file of `artifact` to evaluate on this machine: an engine that runs here, else the ONNX file."""
    from runtime.session import engine_here

    return engine_here(artifact, allow_host_code=False) or "model.onnx"


@app.command(epilog="Example: python cli.py inspect artifacts/deepvit_32-fp16")
def inspect(
    artifact: Annotated[pathlib.Path, typer.Argument(help="An artifact folder, or a file in it.")],
    json_path: Json = None,
) -> None:
    """Show what an artifact is, what its engines are made of, and whether they run on this machine; loads nothing."""
    from runtime.describe import describe_artifact
    from runtime.machine import this_machine
    from runtime.session import artifact_of

    check_json(json_path)
    opened = artifact_of(artifact)
    for line in describe_artifact(opened, this_machine()):
        out.print(line)
    write_json(json_path, opened.manifest.to_json)
    for name in opened.manifest.files:
        opened.read(name)  # a changed file is an error, once all has been shown
    written = shlex.quote(str(opened.folder))
    built = bool(opened.manifest.engines)
    print_next(f"python cli.py {'eval' if built else 'build'} {written}{' --imagenet /data' if built else ''}")


@app.command(epilog="Example: python cli.py compare --layers artifacts/deepvit_32-fp16")
def compare(
    artifact: Annotated[pathlib.Path, typer.Argument(help="An artifact folder.")],
    layers: Annotated[bool, typer.Option("--layers", help="At the output of every block, by Polygraphy.")] = False,
    reference: Annotated[
        pathlib.Path | None, typer.Option(help="A float32 artifact of the same model; else exported from the weights.")
    ] = None,
    imagenet: Annotated[str | None, typer.Option(help="The images; else the bundled photographs.")] = None,
    images: Annotated[int | None, typer.Option(min=1, max=256, help="How many of them.")] = None,
    checkpoint: Checkpoint = None,
    pretrained: Pretrained = False,
    no_ema: NoEma = False,
    json_path: Json = None,
) -> None:
    """Show block by block how far an artifact is from float32: its graph, and its engine where there is a GPU."""
    from runtime.session import artifact_of

    check_json(json_path)
    if not layers:
        raise InputError("compare without --layers is not there yet; for whole models: eval --reference")
    opened = artifact_of(artifact)
    from export.layer_report import describe_layers, report_layers

    weights = _weights(checkpoint, pretrained, no_ema, None)
    with steps() as step:
        report = report_layers(opened, reference, weights, imagenet, images, step)
    if opened.manifest.has_random_weights:
        err.print(RANDOM_WEIGHTS)
    for line in describe_layers(report):
        out.print(line)
    write_json(json_path, report.to_json)
    print_next(f"python cli.py inspect {shlex.quote(str(opened.folder))}")


@app.command("eval", epilog="Example: python cli.py eval artifacts/deepvit_32-fp16/model.onnx --imagenet /data")
def evaluate_command(
    model: Annotated[str, typer.Argument(help="An artifact folder, its model.onnx or plan, or a variant (PyTorch).")],
    imagenet: Annotated[str, typer.Option(help="Labelled images: val/<synset>/*.JPEG, or what timm reads.")],
    limit: Annotated[int | None, typer.Option(min=1, help="So many images, spread over the dataset.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=4096, help="Images per run.")] = 32,
    reference: Annotated[str, typer.Option(help="none, pytorch, or an artifact to agree with.")] = "none",
    checkpoint: Checkpoint = None,
    pretrained: Pretrained = False,
    no_ema: NoEma = False,
    img_size: ImgSize = None,
    provider: Provider = None,
    trust_unverified: TrustUnverified = False,
    allow_host_code: AllowHostCode = False,
    preprocess_as: Annotated[str | None, typer.Option("--variant", help="For a file without a manifest.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, max=256, help="Decoding processes.")] = None,
    json_path: Json = None,
) -> None:
    """Measure top-1 and top-5 on labelled images, and the agreement with a reference."""
    from export.open_model import SessionOptions, open_model, open_reference
    from runtime.describe import describe_corrupt, describe_evaluation
    from runtime.evaluate import evaluate, summarize
    from runtime.imagenet import open_dataset, spread

    check_json(json_path)
    weights = _weights(checkpoint, pretrained, no_ema, img_size)
    how = SessionOptions(provider=provider, trust_unverified=trust_unverified, allow_host_code=allow_host_code)
    opened = open_model(model, how, weights, preprocess_as)
    other = open_reference(reference, opened, how, weights)
    source = spread(open_dataset(imagenet, opened.session.classes), limit)
    if opened.has_random_weights:
        err.print(RANDOM_WEIGHTS)
    with images_bar("evaluating", len(source)) as advance:
        tally, seconds = evaluate(
            opened.session,
            source,
            opened.preprocessing,
            reference=None if other is None else (other.name, other.session, other.preprocessing),
            batch_size=batch_size,
            workers=workers,
            progress=advance,
        )
    result = summarize(
        tally,
        seconds,
        model=opened.name,
        session=opened.session,
        random_weights=opened.has_random_weights,
        dataset=imagenet,
        source=source,
        published_top1=opened.published_top1,
        reference=None if other is None else other.name,
    )
    for line in describe_evaluation(result):
        out.print(line)
    for line in describe_corrupt(result):
        err.print(line)
    if opened.manifest is not None and other is None:
        last = opened.manifest.parity[-1]
        out.print(
            f"at export: {last.stage} agreed with {last.against} on {last.top1_agreement:.2%} of {last.images} images"
        )
    write_json(json_path, lambda: result.model_dump_json(indent=2))
    print_next(_after_eval(model, imagenet, opened, other is not None, checkpoint))


def _after_eval(
    model: str, imagenet: str, opened: "OpenedModel", has_reference: bool, checkpoint: pathlib.Path | None
) -> str:
    """Return the command that usually follows an evaluation."""
    weights = f" --checkpoint {shlex.quote(str(checkpoint))}" if checkpoint else " --pretrained"
    if opened.has_random_weights:
        weights = ""
    data = f"--imagenet {shlex.quote(imagenet)}"
    if opened.manifest is not None and not has_reference:
        return f"python cli.py eval {shlex.quote(model)} {data} --reference pytorch{weights}"
    precision = "--fp16" if opened.manifest is None else "--bf16"
    return f"python cli.py export {opened.variant or 'deepvit_32'} {precision}{weights} {data}"


def _weights(checkpoint: pathlib.Path | None, pretrained: bool, no_ema: bool, img_size: int | None) -> "WeightOptions":
    from deepvit.checkpoint import EmaChoice
    from export.open_model import WeightOptions

    ema = EmaChoice.REFUSE if no_ema else EmaChoice.PREFER
    return WeightOptions(checkpoint=checkpoint, pretrained=pretrained, ema=ema, img_size=img_size)


def _choice(option: str, text: str, kind: type[E]) -> E:
    """Return the member of an Enum whose value is `text`."""
    members = {member.value: member for member in kind}
    if text not in members:
        raise InputError(f"{option} {text}: expected one of {', '.join(members)}")
    return members[text]


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


def _terminate(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(EXIT_TERMINATED)  # unwinds, so that what was staged is removed


def main(argv: list[str] | None = None) -> None:
    """Run one command and exit with its code; every error is one line on stderr, unless --debug is given."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"] or ["--help"]
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = app(
            args=arguments, prog_name="deepvit" if sys.argv[0].endswith("deepvit") else "cli.py", standalone_mode=False
        )
        sys.exit(code if isinstance(code, int) else 0)
    except KeyboardInterrupt:
        _fail("interrupted; nothing was written", EXIT_INTERRUPTED)
    except TyperException as error:
        _fail(f"{error.format_message().rstrip('.')}; see --help", InputError.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        if debug:
            raise
        code = getattr(error, "exit_code", None)  # what the packages refuse knows its own
        if code is not None:
            _fail(str(error), code)
        _fail(f"internal: {type(error).__name__}: {error}; run it again with --debug and report it", EXIT_INTERNAL)


if __name__ == "__main__":
    main()
