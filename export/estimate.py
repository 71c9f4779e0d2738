"""About what an export takes, in seconds and memory: a line through what was measured, for other models and images.

The constants are fitted to the exports in benchmarks/results/export_cost.json, and to how the small models' compare.
"""

import dataclasses

from .plan import ExportPlan, ModelShape

BASIS = (
    "estimated from exports of deepvit_32 and deepvit_l_384 on 2 cores of an AMD EPYC "
    "(benchmarks/results/export_cost.json)"
)
START_S = 6.0  # loading PyTorch and what exports
BLOCK_S = 0.1  # writing one block: blocks that are alike are traced once
MILLION_WEIGHTS_S = 0.1  # folding, casting, hashing
BILLION_PRODUCTS_S = 0.0095  # one image once through a model, in one float32 pass of ONNX Runtime
PARITY_PASSES = 3  # PyTorch, float32, the typed graph, which is emulated; each image on one core
CALIBRATION_PASSES = 2  # extremes, histograms
CHECK_PASSES = 3  # float32, the typed graph, which is emulated
SEARCH_STEPS = 8  # of a bisection
RANKING_IMAGES = 32
LINEARS = 4  # of a block
SEARCH_IMAGES = 512

START_BYTES = 0.9e9
BYTES_A_WEIGHT = 48
MAPS_KEPT = 75  # attention maps of so many images of one block


@dataclasses.dataclass(frozen=True)
class Estimate:
    """About so many seconds on 2 cores, and so many bytes of memory at most."""

    seconds: float
    memory_bytes: int


def estimate_export(plan: ExportPlan) -> Estimate:
    """Return about what an export takes."""
    shape = plan.shape
    million, depth = shape.parameters / 1e6, shape.variant.architecture.depth
    passes = PARITY_PASSES * len(plan.parity) + CALIBRATION_PASSES * plan.calibrates
    quantization = plan.quantization
    if quantization is not None:
        passes += CHECK_PASSES * quantization.checks
        if plan.options.quantization.budget is not None and quantization.chosen is not None:
            searched = min(quantization.chosen.choice.count, SEARCH_IMAGES)
            # Each linear alone and left out, from its block on: as many passes as there are linears.
            passes += RANKING_IMAGES * LINEARS * depth + SEARCH_STEPS * searched
    seconds = START_S + BLOCK_S * depth + MILLION_WEIGHTS_S * million + passes * _billion(shape) * BILLION_PRODUCTS_S
    maps = shape.variant.architecture.num_heads * _tokens(shape) ** 2 * 4
    memory = START_BYTES + BYTES_A_WEIGHT * shape.parameters + MAPS_KEPT * maps
    return Estimate(seconds=seconds, memory_bytes=int(memory))


def _tokens(shape: ModelShape) -> int:
    return (shape.img_size // shape.variant.architecture.patch_size) ** 2 + 1


def _billion(shape: ModelShape) -> float:
    """Return the products of one image, in billions: each weight meets each token."""
    return shape.parameters * _tokens(shape) / 1e9
