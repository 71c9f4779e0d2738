"""An analysis of attention in words."""

from collections.abc import Iterator

import numpy as np

from .analysis import AttentionAnalysis


def describe_attention(analysis: AttentionAnalysis) -> Iterator[str]:
    """Yield how alike the blocks attend, and what the paper has for such a model."""
    note = " (random weights)" if analysis.random_weights else ""
    yield f"model         {analysis.model}{note}, {analysis.runs_on}"
    blocks, mixed = len(analysis.reattends), sum(analysis.reattends)
    yield f"blocks        {blocks}, {mixed} with re-attention; means over {len(analysis.images)} images"
    for name, similar, matrix, heads in (
        ("softmaxed", analysis.similar_blocks_before, analysis.similarity_before, analysis.heads_before),
        ("mixed", analysis.similar_blocks_after, analysis.similarity_after, analysis.heads_after),
    ):
        if name == "mixed" and not mixed:
            continue
        yield (
            f"{name:14s}{similar} of {blocks - 1} blocks similar{note}; neighbours {_range(_neighbours(matrix))}, "
            f"heads {_range(heads)}"
        )
    yield f"features      neighbours {_range(_neighbours(analysis.features))}{note}"
    if analysis.published_similar_blocks is not None:
        after = " after the mix" if mixed else ""
        yield (
            f"published     {analysis.published_similar_blocks} of {blocks - 1} blocks similar{after}, trained on "
            "ImageNet-1k (arXiv:2103.11886)"
        )
    yield f"similar       to the block before: mean cosine of the columns of their maps ≥ {analysis.threshold:g}"


def _neighbours(matrix: list[list[float]]) -> list[float]:
    return np.diagonal(np.array(matrix), offset=1).tolist()


def _range(values: list[float]) -> str:
    return f"{min(values):.3f} to {max(values):.3f}"
