"""`attention`: a model and images → how alike its blocks attend, and pictures of where they look."""

import dataclasses
import logging
import pathlib
from collections.abc import Callable, Iterator

import numpy as np

from deepvit.images.decode import decode_one
from deepvit.images.samples import open_images_or_samples
from deepvit.images.sources import ImageSource, spread
from deepvit.model.row import Variant
from deepvit.model.variants import VARIANTS
from deepvit.runtime.errors import InputError
from deepvit.runtime.opening import artifact_of
from deepvit.runtime.preprocess import Crop, Preprocessing, model_input

from ..models import is_variant
from ..options import WeightOptions
from .analysis import AttentionAnalysis, AttentionMaps, AttentionSums, Picture
from .maps import MapSource, OnnxMaps
from .options import AttentionOptions
from .pictures import as_jpeg, blocks_figure, heads_figure, mean_maps_figure, write_figures
from .saved import maps_file
from .similarity import similarity_figure

logger = logging.getLogger(__name__)
PICTURES_KEPT = 4  # in the result, for the report


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenedMaps:
    """A model whose maps can be had; `variant` is its row of the table, where it is one."""

    name: str
    variant: Variant | None
    source: MapSource
    preprocessing: Preprocessing
    channels: int
    random_weights: bool


def open_maps(model: str, weights: WeightOptions, provider: str | None) -> OpenedMaps:
    """Open a variant in PyTorch, or an artifact that was exported with its maps.

    Raises:
        InputError: Neither, or one without maps.
        MissingError: A variant, and PyTorch is not installed.
    """
    if is_variant(model):
        loaded = weights.load(model)
        from .torch_maps import TorchMaps

        return OpenedMaps(
            name=model,
            variant=loaded.variant,
            source=TorchMaps(loaded.module),
            preprocessing=loaded.preprocessing(),
            channels=loaded.module.in_chans,
            random_weights=loaded.weights.source == "random",
        )
    artifact = artifact_of(pathlib.Path(model))
    manifest = artifact.manifest
    return OpenedMaps(
        name=model,
        variant=VARIANTS.get(manifest.variant),
        source=OnnxMaps(artifact, provider or "cpu"),
        preprocessing=manifest.preprocess,
        channels=manifest.input.channels,
        random_weights=manifest.has_random_weights,
    )


def analyse_attention(
    model: OpenedMaps, options: AttentionOptions, progress: Callable[[int, int], None]
) -> tuple[AttentionAnalysis, list[pathlib.Path]]:
    """Run the images, and write the pictures, and the maps where asked for.

    Raises:
        InputError: No usable image, a block that is not there, or a place that cannot be written to.
        MissingError: matplotlib is not installed, or the disk has no room for the maps.
    """
    source = spread(open_images_or_samples(options.dataset, options.decoding), options.count)
    sums: AttentionSums | None = None
    names: list[str] = []
    pictures: list[pathlib.Path] = []
    kept: list[Picture] = []
    mean_before = mean_after = np.zeros(())
    with maps_file(options.maps, len(source)) as saved:
        for crop, name in _usable(source, model, progress):
            maps = model.source.maps(model_input(crop[None], model.preprocessing, model.channels))
            sums = AttentionSums.of(maps) if sums is None else sums + AttentionSums.of(maps)
            mean_before, mean_after = mean_before + maps.before.mean(axis=1), mean_after + maps.after.mean(axis=1)
            if len(names) < options.drawn:
                pictures += _draw(model, options, maps, crop, name)
                if len(kept) < PICTURES_KEPT:
                    kept.append(Picture(name=name, jpeg=as_jpeg(pictures[-2])))
            names.append(name)
            if saved is not None:
                saved.add(name, maps)
        if sums is None:
            raise InputError(f"none of the {len(source)} images of {options.dataset} could be used")
        if saved is not None:
            saved.finish(model.name)
    analysis = sums.analysis(
        model=model.name,
        runs_on=model.source.description,
        random_weights=model.random_weights,
        images=names,
        threshold=options.threshold,
        reattends=list(maps.reattends),
        published_similar_blocks=model.variant.similar_blocks if model.variant else None,
        pictures=kept,
    )
    title = f"{_titled(model)}: maps, means over heads and {len(names)} images"
    means = mean_maps_figure(mean_before / len(names), mean_after / len(names), maps.reattends, title)
    pictures += write_figures(options.output, [("similarity", similarity_figure(analysis)), ("mean-maps", means)])
    return analysis, pictures


def _usable(source: ImageSource, model: OpenedMaps, progress: Callable[[int, int], None]) -> Iterator[tuple[Crop, str]]:
    """Yield the crops of those images that can be used, and their names."""
    for index in range(len(source)):
        decoded = decode_one(source, index, [model.preprocessing])
        progress(index + 1, len(source))
        if decoded.crop is None:
            logger.warning("left out: %s %s", source.name(index), decoded.error)
        else:
            yield decoded.crop, source.name(index)


def _titled(model: OpenedMaps) -> str:
    return f"{model.name}, random weights" if model.random_weights else model.name


def _draw(
    model: OpenedMaps, options: AttentionOptions, maps: AttentionMaps, crop: Crop, name: str
) -> list[pathlib.Path]:
    blocks = len(maps.before)
    mixed = [index for index, mixes in enumerate(maps.reattends) if mixes]
    block = options.block if options.block is not None else (mixed or [blocks - 1])[-1]
    if not 0 <= block < blocks:
        raise InputError(f"‹block› {block}: {model.name} has blocks 0 to {blocks - 1}")
    stem = pathlib.PurePosixPath(name).with_suffix("").as_posix().replace("/", "-")
    of = f"{_titled(model)}, {name}: attention of the class token"
    return write_figures(
        options.output,
        [
            (f"{stem}-blocks", blocks_figure(maps, crop, of)),
            (f"{stem}-heads", heads_figure(maps, crop, block, f"{of}, block {block}")),
        ],
    )
