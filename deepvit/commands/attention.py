"""`attention`: where a model looks, and how alike its blocks are."""

from typing import Annotated

from deepvit.measure.attention.options import AttentionOptions
from deepvit.measure.options import WeightOptions
from deepvit.runtime.options import Help, Without

from .terminal.console import out, print_next, write_json
from .terminal.following import after_attention
from .terminal.options import RANDOM_WEIGHTS, Json
from .terminal.outputs import check_outputs
from .terminal.progress import note, progress_bar, steps


def attention(
    model: Annotated[
        str, Help("A variant (PyTorch), or an artifact exported with --attention-maps.", is_argument=True)
    ],
    options: AttentionOptions,
    weights: Annotated[WeightOptions, Without("num_classes")],
    provider: Annotated[
        str | None, Help("ONNX Runtime's provider: cpu, cuda, tensorrt or tensorrt-rtx.", heading="How it runs")
    ] = None,
    json_path: Json = None,
) -> None:
    """Draw attention maps before and after the mix, and measure how alike blocks, heads and features are."""
    check_outputs(json=json_path, maps=options.maps, reads=(model, weights.checkpoint))
    with steps() as step:
        step(f"opening {model}")
        from deepvit.measure.attention.run import analyse_attention, open_maps
        from deepvit.measure.attention.words import describe_attention

        source = open_maps(model, weights, provider)
    if source.random_weights:
        note(RANDOM_WEIGHTS)
    with progress_bar("attention", options.count) as advance:
        analysis, pictures = analyse_attention(source, options, advance)
    for line in describe_attention(analysis):
        out.print(line)
    out.print(
        f"wrote {len(pictures)} pictures to {options.output}: {', '.join(path.name for path in pictures[-2:])}, …"
    )
    if options.maps is not None:
        out.print(f"wrote the maps to {options.maps}")
    write_json(json_path, analysis.to_json)
    print_next(after_attention(model, weights, options))
