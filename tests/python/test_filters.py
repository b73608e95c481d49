"""Searches among some of the points: by ids, places or IdFilter, and exact ones."""

import numpy as np
import pytest
import reference
import whimbrel as wb

N, DIM, K = 4000, 16, 10
RATES = (0, 0.001, 0.01, 0.1, 0.5, 1)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((N, DIM)).astype(np.float32), rng.standard_normal((60, DIM)).astype(np.float32)


@pytest.fixture(scope="module", params=[("l2", "f32"), ("ip", "f32"), ("cosine", "f32"), ("l2", "sq8")])
def index(data, request):
    metric, codec = request.param
    return wb.HnswIndex.build(data[0], np.arange(N) * 2 + 1, metric, M=8, ef_construction=60, codec=codec)


def allowed_rows(rate):
    return np.sort(np.random.default_rng(1).permutation(N)[: round(rate * N)])


def truth(index, data, rows):
    """The exact k nearest among some rows, as the index names them."""
    ids = np.full((len(data[1]), K), -1)
    distances = np.full((len(data[1]), K), np.inf, np.float32)
    if len(rows):
        found, d = wb.knn(data[0][rows], data[1], min(K, len(rows)), index.metric)
        ids[:, : found.shape[1]], distances[:, : found.shape[1]] = rows[found] * 2 + 1, d
    return ids, distances


@pytest.mark.parametrize("rate", RATES)
def test_every_pass_rate_finds_what_is_allowed_and_no_less_than_there_is(index, data, rate):
    rows = allowed_rows(rate)
    true_ids, true_distances = truth(index, data, rows)
    hits = index.search(data[1], K, ef_search=25, filter=rows * 2 + 1)
    assert np.all((hits.ids >= 0).sum(axis=1) == min(K, len(rows)))
    assert set(hits.ids[hits.ids >= 0].tolist()) <= set((rows * 2 + 1).tolist())
    share = np.mean([len(np.intersect1d(a[a >= 0], b)) for a, b in zip(true_ids, hits.ids, strict=True)])
    assert share >= 0.9 * min(K, len(rows))
    same = hits.ids == true_ids
    np.testing.assert_array_equal(hits.distances[same], true_distances[same])
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in hits.ids)


@pytest.mark.parametrize("rate", RATES)
def test_all_forms_of_a_filter_find_the_same(index, data, rate):
    rows = allowed_rows(rate)
    places = np.isin(np.arange(N), rows)
    ids = rows * 2 + 1
    expected = index.search(data[1], K, filter=ids)
    for same in (ids[::-1], places, places.tolist(), set(ids.tolist()), wb.IdFilter(ids), [ids] * 60):
        found = index.search(data[1], K, filter=same)
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.distances, expected.distances)
    one_thread = index.search(data[1], K, filter=ids, threads=1)
    np.testing.assert_array_equal(one_thread.ids, expected.ids)


@pytest.mark.parametrize("rate", RATES)
def test_exact_searches_are_exact_among_the_allowed(index, data, rate):
    rows = allowed_rows(rate)
    true_ids, true_distances = truth(index, data, rows)
    hits, counts = index.search_with_counts(data[1], K, filter=rows * 2 + 1, exact=True)
    np.testing.assert_array_equal(hits.ids, true_ids)
    np.testing.assert_array_equal(hits.distances, true_distances)
    assert np.all(counts.distances == len(rows))


def test_exact_without_a_filter_is_knn(index, data):
    hits = index.search(data[1], K, exact=True)
    expected = wb.knn(data[0], data[1], K, index.metric)
    np.testing.assert_array_equal(hits.ids, expected.ids * 2 + 1)
    np.testing.assert_array_equal(hits.distances, expected.distances)


def test_each_query_can_have_its_own_filter(index, data):
    filters = [None, [1, 3, 5], wb.IdFilter(range(1, 2001, 2)), np.arange(N) % 3 == 0, {7}, (), np.arange(0)]
    queries = data[1][: len(filters)]
    found = index.search(queries, K, filter=filters)
    for q, one in enumerate(filters):
        alone = index.search(queries[q], K, filter=one)
        np.testing.assert_array_equal(found.ids[q], alone.ids)
    matrix = np.arange(2 * N).reshape(2, N) % 5 == 0
    rows = index.search(queries[:2], K, filter=matrix)
    np.testing.assert_array_equal(rows.ids[1], index.search(queries[1], K, filter=matrix[1]).ids)


@pytest.mark.parametrize("codec", ["f32", "sq8"])
def test_points_far_from_the_query_are_found_when_only_they_are_allowed(codec):
    rng = np.random.default_rng(2)
    near = rng.standard_normal((3000, DIM))
    far = rng.standard_normal((1500, DIM)) + 50
    both = np.concatenate([near, far]).astype(np.float32)
    index = wb.HnswIndex.build(both, M=6, ef_construction=40, codec=codec)
    queries = rng.standard_normal((20, DIM)).astype(np.float32)
    allowed = np.arange(3000, 4500)
    true_ids = wb.knn(both[3000:], queries, 5).ids + 3000
    found = index.search(queries, 5, ef_search=20, filter=allowed).ids
    assert reference.recall(found, true_ids) > 0.9


def test_ids_that_the_index_does_not_have_are_ignored(data):
    index = wb.HnswIndex.build(data[0][:100])
    assert index.search(data[1][0], 3, filter=[5, 10**12, -4, 5]).ids.tolist() == [5, -1, -1]
    assert index.search(data[1][0], 2, filter=np.array([2**62])).ids.tolist() == [-1, -1]


def test_a_filter_follows_its_index_and_serves_several(data):
    index, other = wb.HnswIndex(DIM, M=4), wb.HnswIndex.build(data[0][:50], np.arange(50)[::-1], M=4)
    even = wb.IdFilter(range(0, 100, 2))
    assert index.search(data[1][0], 2, filter=even).ids.tolist() == [-1, -1]
    for part in np.split(data[0][:60], 6):
        index.add(part)
        hits = index.search(data[1][0], 100, filter=even)
        assert sorted(hits.ids[hits.ids >= 0].tolist()) == list(range(0, len(index), 2))
        assert np.count_nonzero(other.search(data[1][0], 100, filter=even).ids >= 0) == 25


def test_bad_filters_are_errors(data):
    index = wb.HnswIndex.build(data[0][:100])
    query, queries = data[1][0], data[1][:3]
    with pytest.raises(ValueError, match="filter: expected one value per point, 100, got 99"):
        index.search(query, filter=np.ones(99, bool))
    with pytest.raises(ValueError, match="filter: expected one per query, 3, got 2"):
        index.search(queries, filter=[[1], [2]])
    with pytest.raises(ValueError, match=r"filter: expected shape \(n,\), got \(1, 1\)"):
        index.search(queries, filter=[np.ones((1, 1), bool)] * 3)
    with pytest.raises(ValueError, match=r"filter: expected shape \(n,\), got \(1, 2\)"):
        index.search(queries, filter=[[[1, 2]]] * 3)
    with pytest.raises(ValueError, match="filter: expected one per query, 3, got 1"):
        index.search(queries, filter=np.ones((1, 100), bool))
    for bad in ("abc", np.ones(3), [1.5], np.array([1j])):
        with pytest.raises(TypeError, match="filter: expected integers, got dtype"):
            index.search(query, filter=bad)
    with pytest.raises(TypeError, match="ids: expected integers"):
        wb.IdFilter([1.5])
    with pytest.raises(ValueError, match=r"ids: expected shape \(n,\), got \(1, 1\)"):
        wb.IdFilter([[1]])
    with pytest.raises(ValueError, match=r"filter: expected values below 2\*\*63"):
        index.search(query, filter=np.array([2**63], np.uint64))


def test_filters_of_an_empty_index():
    index = wb.HnswIndex(3)
    for filter in ([1, 2], np.empty(0, bool), wb.IdFilter([0]), None):
        for exact in (False, True):
            assert index.search(np.zeros(3), 2, filter=filter, exact=exact).ids.tolist() == [-1, -1]
