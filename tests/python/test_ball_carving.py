"""Ball carving: against a plain loop, and its identities."""

import numpy as np
import pytest
import whimbrel as wb


def unit_sets(lengths, dim, seed=0):
    rng = np.random.default_rng(seed)
    sets = [rng.standard_normal((t, dim)) for t in lengths]
    return [(s / np.linalg.norm(s, axis=1, keepdims=True)).astype(np.float32) for s in sets]


def carve(query, threshold):
    """The definition, in float64."""
    left, groups = list(range(len(query))), []
    products = query.astype(np.float64) @ query.astype(np.float64).T
    while left:
        group = [j for j in left if j == left[0] or products[left[0], j] >= threshold]
        groups.append(query[group].astype(np.float64).sum(axis=0))
        left = [j for j in left if j not in group]
    return np.array(groups).reshape(-1, query.shape[1])


@pytest.mark.parametrize("threshold", [-0.5, 0.0, 0.3, 0.7])
def test_groups_agree_with_the_definition(threshold):
    queries = unit_sets([32, 1, 0, 50, 7], 4)
    tokens, offsets = wb.ball_carving(queries, threshold)
    expected = [carve(query, threshold) for query in queries]
    np.testing.assert_array_equal(offsets, np.cumsum([0, *map(len, expected)]))
    np.testing.assert_allclose(tokens, np.concatenate(expected), rtol=1e-5, atol=1e-6)
    for query, groups in zip(queries, expected, strict=True):
        np.testing.assert_allclose(wb.ball_carving(query, threshold), groups, rtol=1e-5, atol=1e-6)


def test_above_one_it_is_the_identity():
    query = unit_sets([40], 8)[0]
    np.testing.assert_array_equal(wb.ball_carving(query, 1.01), query)


def test_at_minus_one_there_is_one_group():
    query = unit_sets([40], 8)[0]
    carved = wb.ball_carving(query, -1.01)
    assert carved.shape == (1, 8)
    np.testing.assert_allclose(carved[0], query.sum(axis=0, dtype=np.float64), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.5, 0.7, 0.9])
def test_the_score_never_grows(threshold):
    queries, docs = unit_sets([32] * 10, 6), unit_sets([20] * 50, 6, 1)
    carved = wb.maxsim_matrix(wb.ball_carving(queries, threshold), docs)
    assert np.all(carved <= wb.maxsim_matrix(queries, docs) + 1e-4)


def test_a_query_of_no_tokens_stays_one():
    assert wb.ball_carving(np.zeros((0, 3))).shape == (0, 3)


def test_bad_arguments_are_named():
    query = unit_sets([4], 3)[0]
    with pytest.raises(ValueError, match="threshold: expected a number, got NaN"):
        wb.ball_carving(query, float("nan"))
    bad = query.copy()
    bad[2, 1] = np.inf
    with pytest.raises(ValueError, match="queries: expected finite values, got NaN or infinity in row 2"):
        wb.ball_carving(bad)
    with pytest.raises(ValueError, match="queries: expected offsets that never fall"):
        wb.ball_carving((query, [0, 3, 1, 4]))
    with pytest.raises(ValueError, match="queries: expected sets"):
        wb.ball_carving(np.zeros(3))
