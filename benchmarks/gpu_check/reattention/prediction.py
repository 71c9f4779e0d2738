"""How long re-attention is expected to take on a GPU, by its data sheet: said before anything was run on one.

The bound of a call is its slowest resource, as if all others cost nothing. What is expected is their sum: a kernel of ours
has one block a multiprocessor, whose threads do one thing at a time, and blocks come in whole waves; and of separate
operators the slowest resource of each is memory. work.py has what is counted, chip.py what is assumed of the machine.
"""

import dataclasses
import json
import math

from deepvit.export.engine.listing.peaks import Gpu, gpu_from_text
from deepvit.metrics.result import rounded
from deepvit.runtime.errors import InputError

from . import chip as roofs
from .chip import LAUNCH_US, Chip, chip_of
from .names import (
    COMPILED,
    IMAGES,
    LARGE,
    MODEL,
    MODEL_BATCHES,
    TIMED,
    TRITON,
    UNFUSED,
    US,
    WITHOUT_MIX,
    Shape,
    by_rows,
    model_named,
)  # fmt: skip
from .work import BYTES, Work, of_kernel, of_sdpa, of_triton, of_unfused

ASSUMED = ("CACHE_BYTES", "MMA_SYNC", "MEMORY", "PRODUCTS", "LAUNCH_US", "EXPONENTIALS", "SHARED_BYTES")
WIDTH_OF_MLP = 3  # of the tokens', in every variant
LINEAR_LAUNCHES = 9  # of a block beside its attention: two norms, four linears, GELU, two sums


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """Of one figure: what is expected, in its unit, and what is possible at most.

    `work` is of a whole call; of a network, of a block without its attention.
    """

    name: str
    unit: str
    expected: float
    bound: float
    work: dict[str, float]


def predictions_of(gpu: str) -> dict[str, Prediction]:
    """Return those of a GPU by its name; none where no data sheet of it is known here."""
    try:
        return predictions_for(gpu_from_text(gpu))
    except InputError:
        return {}


def predictions_for(gpu: Gpu) -> dict[str, Prediction]:
    """Return every prediction by its figure's name; none for a GPU whose roofs are not known."""
    chip = chip_of(gpu)
    if chip is None:
        return {}
    found = [_of_call(shape, batch, what, chip) for shape, batch in TIMED for what in _works(shape, batch)]
    found += [each for batch in MODEL_BATCHES for each in _of_model(batch, chip)]
    return {each.name: each for each in found}


def text_of(gpu: Gpu) -> str:
    """Return what is written down, JSON with a line a prediction."""
    chip = chip_of(gpu)
    rows = [json.dumps(rounded(dataclasses.asdict(each)), ensure_ascii=False) for each in predictions_for(gpu).values()]
    about = {
        "what": " ".join((__doc__ or "").split()),
        "gpu": gpu.full_name,
        "chip": rounded(dataclasses.asdict(chip)) if chip else None,
        "assumed": {name: getattr(roofs, name) for name in ASSUMED},
    }
    head = json.dumps(about, indent=1, ensure_ascii=False).removesuffix("\n}")
    return f'{head},\n "predictions": [\n  ' + ",\n  ".join(rows) + "\n ]\n}\n"


def _works(shape: Shape, batch: int) -> dict[str, Work]:
    kernels = {by_rows(kernel): of_kernel(kernel, shape.stored, batch) for kernel in shape.kernels}
    unfused = of_unfused(shape, batch)
    return kernels | {
        TRITON: of_triton(shape, batch),
        UNFUSED: unfused,
        COMPILED: dataclasses.replace(unfused, launches=unfused.launches - 1),  # the scale, with what comes before
        WITHOUT_MIX: of_sdpa(shape, batch),
    }


def times_us(work: Work, chip: Chip) -> dict[str, float]:
    """Return microseconds by resource, as if each were the only one."""
    products = chip.products if work.blocks else chip.library_products
    return {
        "memory": 1e6 * work.memory_bytes / chip.memory,
        "cache": 1e6 * work.cache_bytes / chip.cache,
        "shared": 1e6 * work.shared_bytes / chip.shared,
        "exponentials": 1e6 * work.exponentials / chip.exponentials,
        "products": 1e6 * work.products / products,
    }


def expected_us(work: Work, chip: Chip) -> float:
    """Return what a call is expected to take."""
    times = times_us(work, chip)
    launches = work.launches * LAUNCH_US
    if not work.blocks:
        in_turn = times["exponentials"] + times["products"] if work.launches == 1 else 0.0
        return launches + times["memory"] + in_turn
    waves = math.ceil(work.blocks / chip.multiprocessors)
    filled = work.blocks / (waves * chip.multiprocessors)
    within = times["shared"] + times["exponentials"] + times["products"]
    return launches + max((times["cache"] + within) / filled, times["memory"])


def _of_call(shape: Shape, batch: int, what: str, chip: Chip) -> Prediction:
    work = _works(shape, batch)[what]
    return Prediction(
        name=shape.named(batch, what),
        unit=US,
        expected=expected_us(work, chip) / batch,
        bound=max(times_us(work, chip).values()) / batch,
        work=dataclasses.asdict(work),
    )


def _of_model(batch: int, chip: Chip) -> list[Prediction]:
    """Return whole models: their linears, norms and sums, and their attention as predicted; stem and head left out."""
    from deepvit.model import VARIANTS

    architecture = VARIANTS[MODEL].architecture
    shape = next(each for each in LARGE if (each.heads, each.width) == (architecture.num_heads, architecture.head_dim))
    rest = _linears(architecture.embed_dim, shape.stored, batch)
    found = []
    for what, work in _works(shape, batch).items():
        if what in (COMPILED, WITHOUT_MIX):
            continue
        attention, others = expected_us(work, chip), sum(times_us(rest, chip).values())
        slowest = max(times_us(work, chip).values()) + max(times_us(rest, chip).values())
        whole_us = architecture.depth * (attention + others + LAUNCH_US * rest.launches)
        found.append(
            Prediction(
                name=model_named(MODEL, batch, what),
                unit=IMAGES,
                expected=1e6 * batch / whole_us,
                bound=1e6 * batch / (architecture.depth * slowest),
                work=dataclasses.asdict(rest),
            )
        )
    return found


def _linears(dim: int, tokens: int, batch: int) -> Work:
    """Return the work of a block beside its attention: qkv, projection and MLP, two norms, GELU and two sums."""
    rows, hidden = tokens * batch, WIDTH_OF_MLP * dim
    products = 2 * rows * (dim * 3 * dim + dim * dim + 2 * dim * hidden)
    linears = (dim + 3 * dim) + (dim + dim) + 2 * (dim + hidden)  # read and written, numbers a token
    others = 2 * 2 * dim + 2 * hidden + 2 * 3 * dim
    return Work(memory_bytes=BYTES * rows * (linears + others), products=products, launches=LINEAR_LAUNCHES)
