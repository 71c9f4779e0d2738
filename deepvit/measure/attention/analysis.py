"""How alike the blocks of a transformer attend: the analysis of the DeepViT paper, on maps from anywhere.

Source: Zhou et al., "DeepViT: Towards Deeper Vision Transformer" (arXiv:2103.11886), section 3; rollout from Abnar and
Zuidema, "Quantifying Attention Flow in Transformers" (arXiv:2005.00928).
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from deepvit.metrics.result import Record, Result

Float = npt.NDArray[Any]  # of some floating type


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttentionMaps:
    """What the P blocks of a model do with one image of N tokens, the class token first.

    Attributes:
        before: (P, H, N, N), the softmaxed maps; every row sums to 1.
        after: (P, H, N, N), those that multiply the values: mixed across heads and signed where there is re-attention,
            else `before`.
        features: (P, N, C), the tokens that leave each block.
        reattends: For each block, whether it has re-attention.
    """

    before: Float
    after: Float
    features: Float
    reattends: tuple[bool, ...]


class Picture(Record):
    """Where the class token looks on one image."""

    name: str  # the image's
    jpeg: str  # base64


class AttentionAnalysis(Result):
    """Means over the images; lists of lists are P×P matrices, lists have an entry for each of P ≥ 2 blocks.

    Attributes:
        published_similar_blocks: What the paper has for this variant trained on ImageNet-1k, by the maps after the mix.
    """

    kind: Literal["attention"] = "attention"
    model: str
    runs_on: str
    random_weights: bool
    images: list[str]
    threshold: float
    reattends: list[bool]
    similarity_before: list[list[float]]
    similarity_after: list[list[float]]
    similar_blocks_before: int
    similar_blocks_after: int
    published_similar_blocks: int | None = None
    heads_before: list[float]
    heads_after: list[float]
    features: list[list[float]]
    pictures: list[Picture] = []

    @pydantic.model_validator(mode="after")
    def _square(self) -> "AttentionAnalysis":
        blocks = len(self.reattends)
        rows = [*self.similarity_before, *self.similarity_after, *self.features, self.heads_before, self.heads_after]
        if blocks < 2 or len(rows) != 3 * blocks + 2 or any(len(row) != blocks for row in rows):
            raise ValueError(
                f"expected three {blocks}×{blocks} matrices and two lists of {blocks}, {blocks} at least 2"
            )
        return self


def cross_layer_similarity(maps: Float) -> Float:
    """Return how alike the maps of every two blocks are: (P, H, N, N) → (P, P) float64.

    The mean over heads h and tokens t of M^{p,q}_{h,t}, the cosine between the columns A^p_{h,:,t} and A^q_{h,:,t}: how
    much token t gives to every other one.
    """
    blocks, heads, tokens, _ = maps.shape
    total = np.zeros((blocks, blocks))
    for head in range(heads):
        columns = _unit(maps[:, head].astype(np.float64), axis=1).reshape(blocks, -1)
        total += columns @ columns.T
    return np.asarray(total / (heads * tokens))


def head_similarity(maps: Float) -> Float:
    """Return for each block how alike its heads are: (P, H, N, N) → (P,) float64.

    The mean cosine between the columns of two different heads; 1 where a block has one head.
    """
    blocks, heads, tokens, _ = maps.shape
    similarity = np.ones(blocks)
    if heads == 1:
        return similarity
    for block in range(blocks):
        columns = _unit(maps[block].astype(np.float64), axis=1).reshape(heads, -1)
        gram = columns @ columns.T
        similarity[block] = (gram.sum() - np.trace(gram)) / (heads * (heads - 1) * tokens)
    return similarity


def feature_similarity(features: Float) -> Float:
    """Return how alike the tokens are that leave every two blocks: (P, N, C) → (P, P) float64, mean cosine by token."""
    blocks, tokens, _ = features.shape
    unit = _unit(features.astype(np.float64), axis=2).reshape(blocks, -1)
    return np.asarray(unit @ unit.T / tokens)


def _unit(vectors: Float, axis: int) -> Float:
    """Scale to length 1 along `axis`; what is all zero stays so, and is like nothing."""
    lengths = np.linalg.norm(vectors, axis=axis, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1))


def count_similar(similarity: Float, threshold: float) -> int:
    """Return how many blocks attend like the one before them: a similarity of at least `threshold`."""
    return int((np.diagonal(similarity, offset=1) >= threshold).sum())


def rollout(maps: Float) -> Float:
    """Return how much each input token reaches each output token through all blocks: (P, H, N, N) → (N, N) float64.

    The product over blocks of (Ā + I)/2, with Ā the mean over heads; rows sum to 1. Mixed maps are signed: their
    negative entries are left out and their rows scaled to sum to 1 first, which the source does not know.
    """
    tokens = maps.shape[2]
    flow = np.eye(tokens)
    for block in maps:
        mean = np.maximum(block.astype(np.float64).mean(axis=0), 0)
        sums = mean.sum(axis=1, keepdims=True)
        rows = np.where(sums > 0, mean / np.where(sums > 0, sums, 1), np.eye(tokens))
        flow = (rows + np.eye(tokens)) / 2 @ flow
    return flow


@dataclasses.dataclass
class AttentionSums:
    """Sums over the images seen so far."""

    before: Float
    after: Float
    heads_before: Float
    heads_after: Float
    features: Float
    images: int

    @staticmethod
    def of(maps: AttentionMaps) -> "AttentionSums":
        before = cross_layer_similarity(maps.before)
        heads = head_similarity(maps.before)
        is_mixed = any(maps.reattends)
        return AttentionSums(
            before=before,
            after=cross_layer_similarity(maps.after) if is_mixed else before,
            heads_before=heads,
            heads_after=head_similarity(maps.after) if is_mixed else heads,
            features=feature_similarity(maps.features),
            images=1,
        )

    def __add__(self, other: "AttentionSums") -> "AttentionSums":
        names = [field.name for field in dataclasses.fields(self)]
        return AttentionSums(**{name: getattr(self, name) + getattr(other, name) for name in names})

    def analysis(
        self,
        *,
        model: str,
        runs_on: str,
        random_weights: bool,
        images: list[str],
        threshold: float,
        reattends: list[bool],
        published_similar_blocks: int | None = None,
        pictures: Sequence[Picture] = (),
    ) -> AttentionAnalysis:
        """Return the means, and how many blocks are similar."""
        before, after = self.before / self.images, self.after / self.images
        return AttentionAnalysis(
            model=model,
            runs_on=runs_on,
            random_weights=random_weights,
            images=images,
            threshold=threshold,
            reattends=reattends,
            similarity_before=before.tolist(),
            similarity_after=after.tolist(),
            similar_blocks_before=count_similar(before, threshold),
            similar_blocks_after=count_similar(after, threshold),
            published_similar_blocks=published_similar_blocks,
            heads_before=(self.heads_before / self.images).tolist(),
            heads_after=(self.heads_after / self.images).tolist(),
            features=(self.features / self.images).tolist(),
            pictures=list(pictures),
        )
