"""The analysis against float64 written out in full, on maps whose similarity is known."""

import numpy as np
import pytest

from deepvit.measure.attention.analysis import (
    AttentionMaps,
    AttentionSums,
    count_similar,
    cross_layer_similarity,
    feature_similarity,
    head_similarity,
    rollout,
)


def _maps(blocks=3, heads=2, tokens=5, seed=0):
    logits = np.random.default_rng(seed).standard_normal((blocks, heads, tokens, tokens)) * 2
    exponents = np.exp(logits)
    return (exponents / exponents.sum(-1, keepdims=True)).astype(np.float32)


def _cosine(one, other):
    return float(np.dot(one, other) / np.sqrt(np.dot(one, one) * np.dot(other, other)))


def test_similarities_by_their_definition():
    maps = _maps().astype(np.float64)
    signed = maps - 0.3
    features = np.random.default_rng(1).standard_normal((3, 5, 7))
    for values in (maps, signed):
        found = cross_layer_similarity(values)
        for p in range(3):
            for q in range(3):
                each = [_cosine(values[p, h, :, t], values[q, h, :, t]) for h in range(2) for t in range(5)]
                assert found[p, q] == pytest.approx(np.mean(each), abs=1e-12)
        heads = [np.mean([_cosine(block[0, :, t], block[1, :, t]) for t in range(5)]) for block in values]
        assert head_similarity(values) == pytest.approx(heads, abs=1e-12)
    alike = feature_similarity(features)
    assert alike[0, 2] == pytest.approx(np.mean([_cosine(features[0, t], features[2, t]) for t in range(5)]), abs=1e-12)
    assert np.diagonal(alike) == pytest.approx(1)


def test_columns_not_rows_are_compared():
    """The negative control: maps with equal rows everywhere have columns that are alike, their transposes do not."""
    rows = np.random.default_rng(0).random((2, 1, 1, 6))
    alike = np.repeat(rows, 6, axis=2)
    assert cross_layer_similarity(alike)[0, 1] == pytest.approx(1)
    assert cross_layer_similarity(alike.transpose(0, 1, 3, 2))[0, 1] < 0.99


def test_similar_blocks_are_counted_against_the_one_before():
    maps = _maps(blocks=5)
    maps[2] = maps[1] * 3  # a cosine knows no length
    maps[4] = maps[3]
    similarity = cross_layer_similarity(maps)
    assert count_similar(similarity, 0.99) == 2
    assert count_similar(similarity, 0.0) == 4
    maps[0] = maps[3]  # alike, but no neighbours
    assert count_similar(cross_layer_similarity(maps), 0.99) == 2


def test_what_is_zero_is_like_nothing_and_one_head_like_itself():
    maps = _maps(heads=1)
    maps[1] = 0
    assert np.array_equal(cross_layer_similarity(maps)[1], np.zeros(3))
    assert head_similarity(maps).tolist() == [1.0, 1.0, 1.0]


def test_rollout():
    maps = _maps()
    flow = np.eye(5)
    for block in maps.astype(np.float64):
        flow = (0.5 * block.mean(0) + 0.5 * np.eye(5)) @ flow
    assert np.allclose(rollout(maps), flow, atol=1e-6)
    assert np.allclose(rollout(maps - 0.2).sum(1), 1)
    assert np.array_equal(rollout(np.full((2, 1, 3, 3), -1.0)), np.eye(3))  # nothing is left of such maps


def test_means_over_images():
    parts = [
        AttentionMaps(
            before=_maps(seed=s), after=_maps(seed=s) - 0.1, features=np.ones((3, 5, 2)), reattends=(True,) * 3
        )
        for s in (1, 2)
    ]
    both = AttentionSums.of(parts[0]) + AttentionSums.of(parts[1])
    found = both.analysis(
        model="m", runs_on="r", random_weights=True, images=["a", "b"], threshold=0.9, reattends=[True] * 3
    )
    expected = np.mean([cross_layer_similarity(part.after) for part in parts], axis=0)
    assert np.allclose(found.similarity_after, expected)
    assert found.similar_blocks_after == count_similar(expected, 0.9)
