"""Measure how alike the blocks of the glyph networks attend, in PyTorch and in their INT8 graphs, and draw it.

Usage: python -m examples.collapse.measure DATASET [WEIGHTS] [--depths 6 12], with what examples/glyphs made: the
networks of 12 blocks come with deepvit, WEIGHTS is a folder with those of other depths, such as
glyphs_vit_6.safetensors. Writes collapse.png, collapse-matrices.png and collapse-depth.png into docs/images/ and the
figures to benchmarks/results/collapse.json.
"""

import argparse
import pathlib
import tempfile

import numpy as np
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
from deepvit.model.load import LoadedModel, loaded_from_checkpoint
from deepvit.model.weights.checkpoint import EmaChoice, read_checkpoint
from deepvit.model.weights.published import fetch_checkpoint
from deepvit.runtime.artifact.manifest import Precision
from deepvit.runtime.opening import open_session
from examples.collapse.pictures import Seen, draw_collapse, draw_collapse_matrices, draw_depths
from examples.digits.train import load_split
from examples.glyphs.variants import NAMES, glyph_variant

IMAGES = 64  # that the similarities are means over
CALIBRATION_IMAGES = 512
PICTURES = pathlib.Path(__file__).parents[2] / "docs" / "images"


def load_trained(name: str, depth: int, weights: pathlib.Path) -> LoadedModel:
    """Return a trained network: that which comes with deepvit, or what `weights` has of another depth."""
    variant = glyph_variant(name, depth)
    if variant.bundled_weights is not None:
        return loaded_from_checkpoint(variant, fetch_checkpoint(variant))
    path = weights / f"{variant.name}.safetensors"
    return loaded_from_checkpoint(variant, read_checkpoint(path, EmaChoice.PREFER))


def measure(loaded: LoadedModel, dataset: str, images: int, calibration_images: int) -> list[Seen]:
    """Return how a network does on the held-out images, and how it attends, in PyTorch and as an INT8 graph."""
    variant, module = loaded.variant, loaded.module
    graph = GraphOptions(precision=Precision.INT8, target=Target.ONNX, outputs=Outputs.MAPS)
    quantization = QuantizationOptions(images=calibration_images, check_images=0)
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
            found.append(Seen(form, top1, len(labels), analysis))
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
        "blocks": len(found.reattends),
        "form": seen.form,
        "runs_on": found.runs_on,
        "top1": round(seen.top1, 4),
        "scored": seen.scored,
        "images": len(found.images),
        "threshold": found.threshold,
        "similar_blocks": {name: similar for name, (_, similar, _) in kinds.items()},
        "similarity_to_the_block_before": {
            name: np.diagonal(np.array(matrix), offset=1).round(4).tolist() for name, matrix in neighbours.items()
        },
        "similarity_between_heads": {name: np.round(heads, 4).tolist() for name, (_, _, heads) in kinds.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="what `make glyphs` wrote")
    parser.add_argument(
        "weights", nargs="?", type=pathlib.Path, default=pathlib.Path(), help="folder of the checkpoints"
    )
    parser.add_argument("--depths", nargs="+", type=int, default=[12])
    given = parser.parse_args()
    trained = {depth: [load_trained(name, depth, given.weights) for name in NAMES] for depth in given.depths}
    seen = {
        depth: [each for one in loaded for each in measure(one, given.dataset, IMAGES, CALIBRATION_IMAGES)]
        for depth, loaded in trained.items()
    }
    PICTURES.mkdir(parents=True, exist_ok=True)
    shown = seen[max(seen)]
    draw_collapse(shown, PICTURES / "collapse.png")
    draw_collapse_matrices(shown, PICTURES / "collapse-matrices.png")
    networks = [figures_of(each) for found in seen.values() for each in found]
    draw_depths(networks, PICTURES / "collapse-depth.png")
    depths = " ".join(map(str, given.depths))
    content = {
        "command": f"python -m examples.collapse.measure data/glyphs data/glyphs-trained --depths {depths}",
        "machine": machine(),
        "networks": networks,
    }
    write_result("collapse", content)


if __name__ == "__main__":
    main()
