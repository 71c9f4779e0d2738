"""A graph through TensorRT-RTX's compiler and the precision gate: what all scripts do that list kernels."""

import dataclasses
from typing import Any

import onnx

from deepvit.export.engine.building.process import Build, build_engine
from deepvit.export.engine.building.worker import Job
from deepvit.export.engine.census import census_of, dequantized_products, engine_breaches, network_breaches
from deepvit.export.engine.listing.traffic import Kernel, kernels_of
from deepvit.export.engine.options import EngineOptions
from deepvit.export.graph.onnx_file import count_gemms, to_bytes
from deepvit.runtime.artifact.manifest import Backend, BatchRange, GraphForm, Manifest, Precision, ReattentionForm

BATCH, CAPABILITY = 32, "8.9"
UNFUSED, FUSED = ReattentionForm.UNFUSED, ReattentionForm.FUSED


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compiled:
    """An engine for `BATCH` images on `CAPABILITY`, its kernels, and what the gate says of it, for a row of a result."""

    build: Build
    kernels: list[Kernel]
    gate: dict[str, Any]


def compile_and_judge(model: onnx.ModelProto, precision: Precision, reattention: ReattentionForm = UNFUSED) -> Compiled:
    """Compile a typed graph, and hold the engine against what an artifact of it would promise.

    Fused re-attention has a layer in the plugin's place, which computes nothing.
    """
    form = GraphForm(**dataclasses.asdict(count_gemms(model)), reattention=reattention)
    promise = Manifest.model_construct(precision=precision, graph=form)
    job = Job(
        options=EngineOptions(backend=Backend.TENSORRT_RTX, compute_capabilities=(CAPABILITY,)),
        batch=BatchRange(min=BATCH, opt=BATCH, max=BATCH),
        timing_cache=None,
        is_run=False,
        has_stand_in=reattention is FUSED,
    )
    build = build_engine(to_bytes(model), job, None, lambda _phase, _share: None, lambda _: None)
    layers = build.layers()
    if layers is None:
        raise SystemExit(f"TensorRT-RTX {build.version} lists no layers")
    gate = {
        "products": sum(layer.is_product for layer in build.network),
        "quantized": form.quantized_gemms or 0,
        "attributed": census_of(build.network, layers).gemms_attributed,
        "breaches": [*network_breaches(build.network, promise), *engine_breaches(layers, build.network, promise)],
        "widened": len(dequantized_products(layers, build.network, promise)),
        "tensorrt_rtx": build.version,
    }
    return Compiled(build=build, kernels=kernels_of(layers, BATCH), gate=gate)
