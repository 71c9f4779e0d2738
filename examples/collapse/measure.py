"""Measure how alike the blocks of the two trained networks attend, in PyTorch and in their INT8 graphs, and draw it.

Usage: python -m examples.collapse.measure DATASET WEIGHTS, with what train.py wrote; writes collapse.png and
collapse-matrices.png into docs/images/ and the figures to benchmarks/results/collapse.json.
"""

import argparse
import pathlib
import tempfile

import numpy as np
import safetensors
import torch

from benchmarks.common.interleaved import machine, write_result
from deepvit.calibration.options import QuantizationOptions
from deepvit.export.graph.spec import Outputs
from deepvit.export.options import ExportOptions, GraphOptions, Target
from deepvit.export.pipeline import export_artifact
from deepvit.measure.attention.maps import MapSource, OnnxMaps
from deepvit.measure.attention.options import AttentionOptions
from deepvit.measure.attention.run import OpenedMaps, analyse_attention
from deepvit.measure.attention.torch_maps import TorchMaps
from deepvit.model.load import LoadedModel
from deepvit.model.variants import Variant
from deepvit.model.weights.checkpoint import EmaChoice, model_from_checkpoint, read_checkpoint
from deepvit.runtime.manifest import Precision, Weights
from deepvit.runtime.session import open_session
from examples.collapse.pictures import Seen, draw_collapse, draw_collapse_matrices
from examples.collapse.train import collapse_variants
from examples.digits.train import load_split

IMAGES = 64  # that the similarities are means over
CALIBRATION_IMAGES = 256
PICTURES = pathlib.Path(__file__).parents[2] / "docs" / "images"


def measure(variant: Variant, weights: pathlib.Path, dataset: str, images: int) -> list[Seen]:
    """Return how a network does on the held-out digits, and how it attends, in PyTorch and as an INT8 graph."""
    trained = read_checkpoint(weights, EmaChoice.PREFER)
    module = model_from_checkpoint(variant, trained)
    loaded = LoadedModel(variant=variant, module=module, weights=Weights(source="checkpoint", sha256=trained.sha256))
    graph = GraphOptions(precision=Precision.INT8, target=Target.ONNX, outputs=Outputs.MAPS)
    quantization = QuantizationOptions(images=CALIBRATION_IMAGES, check_images=0)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        options = ExportOptions(graph=graph, output=folder / "int8", imagenet=dataset, quantization=quantization)
        artifact = export_artifact(loaded, options)
        held_out, labels = load_split(dataset, variant, "val")
        session = open_session(artifact.folder)
        with torch.inference_mode():
            answers = {
                "PyTorch": [module(part) for part in held_out.split(64)],
                "INT8": [torch.from_numpy(session.run(part.numpy())) for part in held_out.split(64)],
            }
        sources: dict[str, MapSource] = {"PyTorch": TorchMaps(module), "INT8": OnnxMaps(artifact)}
        found = []
        for form, source in sources.items():
            opened = OpenedMaps(
                name=variant.name, variant=variant, source=source, preprocessing=loaded.preprocessing(), channels=3,
                random_weights=False,
            )  # fmt: skip
            asked = AttentionOptions(dataset=f"{dataset}/val", count=images, drawn=0, output=folder / form)
            analysis, _ = analyse_attention(opened, asked, _silent)
            top1 = float((torch.cat(answers[form]).argmax(1) == labels).float().mean())
            found.append(Seen(form, top1, analysis))
    return found


def _silent(_done: int, _of: int) -> None:
    """Show nothing while images are run."""


def figures_of(seen: Seen) -> dict[str, object]:
    """Return what is kept: how alike each block is to the one before, how many are similar, and the heads."""
    found = seen.analysis
    kinds = {"before_the_mix": (found.similarity_before, found.similar_blocks_before, found.heads_before)}
    if any(found.reattends):
        kinds["after_the_mix"] = (found.similarity_after, found.similar_blocks_after, found.heads_after)
    neighbours = {name: matrix for name, (matrix, _, _) in kinds.items()} | {"features": found.features}
    return {
        "network": found.model,
        "form": seen.form,
        "runs_on": found.runs_on,
        "top1": round(seen.top1, 4),
        "images": len(found.images),
        "threshold": found.threshold,
        "similar_blocks": {name: similar for name, (_, similar, _) in kinds.items()},
        "similarity_to_the_block_before": {
            name: np.diagonal(np.array(matrix), offset=1).round(4).tolist() for name, matrix in neighbours.items()
        },
        "similarity_between_heads": {name: np.round(heads, 4).tolist() for name, (_, _, heads) in kinds.items()},
    }


def trained_how(weights: pathlib.Path) -> dict[str, int]:
    """Return the epochs and the seconds that the training took."""
    with safetensors.safe_open(weights, "np") as file:
        return {name: int(value) for name, value in file.metadata().items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", help="what make_dataset.py wrote")
    parser.add_argument("weights", type=pathlib.Path, help="folder of the checkpoints")
    given = parser.parse_args()
    files = {name: given.weights / f"{name}.safetensors" for name in collapse_variants()}
    seen = [
        each for name, row in collapse_variants().items() for each in measure(row, files[name], given.dataset, IMAGES)
    ]
    PICTURES.mkdir(parents=True, exist_ok=True)
    draw_collapse(seen, PICTURES / "collapse.png")
    draw_collapse_matrices(seen, PICTURES / "collapse-matrices.png")
    content = {
        "command": "python -m examples.collapse.measure data/digits data/collapse",
        "machine": machine(),
        "trained": {name: trained_how(path) for name, path in files.items()},
        "networks": [figures_of(each) for each in seen],
    }
    write_result("collapse", content)


if __name__ == "__main__":
    main()
