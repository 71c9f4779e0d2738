"""`sensitivity`: what each linear costs when it is quantised."""

import pathlib
from typing import Annotated

from deepvit.calibration.options import QuantizationOptions
from deepvit.export.options import require_attention
from deepvit.measure.options import SensitivityOptions, WeightOptions
from deepvit.runtime.errors import needed_for
from deepvit.runtime.options import Help, Without

from .terminal.console import out, print_next, write_json
from .terminal.following import after_sensitivity
from .terminal.options import OUTPUT, RANDOM_WEIGHTS, Json, Variant
from .terminal.outputs import check_outputs
from .terminal.progress import note, steps


def sensitivity(
    variant: Variant,
    options: SensitivityOptions,
    weights: Annotated[WeightOptions, Without("num_classes")],
    quantization: Annotated[QuantizationOptions, Without("budget", "evidence", "check_images")],
    plot: Annotated[pathlib.Path | None, Help("Draw the ranking to this PNG, SVG or PDF.", heading=OUTPUT)] = None,
    json_path: Json = None,
) -> None:
    """Quantise each linear alone, and leave each out alone, and rank them by what that does to the logits."""
    check_outputs(json=json_path, plot=plot, reads=(weights.checkpoint, quantization.ranges))
    require_attention(options.graph, quantization)
    with steps() as step:
        step(f"loading {variant}")
        loaded = weights.load(variant)
        with needed_for("sensitivity"):
            from deepvit.measure.sensitivity import describe_sensitivity, plot_sensitivity, report_sensitivity

        result = report_sensitivity(
            loaded, options.graph, quantization, options.imagenet, options.images, step, options.decoding
        )
    if result.random_weights:
        note(RANDOM_WEIGHTS)
    for line in describe_sensitivity(result):
        out.print(line)
    write_json(json_path, result.to_json)
    if plot is not None:
        plot_sensitivity(result, plot)
        out.print(f"wrote {plot}")
    print_next(after_sensitivity(variant, options, weights, quantization))
