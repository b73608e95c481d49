"""HnswIndex.refine: links chosen again against the finished graph."""

import numpy as np
import pytest
import reference
import whimbrel as wb

DIM = 12


def points(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)


def small_index(data, metric="l2", **options):
    return wb.HnswIndex.build(data, metric=metric, **{"M": 6, "ef_construction": 40, **options})


def clusters_of_different_dimension(n):
    """Forty clusters in subspaces of dimension 4 to 64 that lie apart: the order decides which link them."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 40, n)
    out = np.empty((n, 128), np.float32)
    for cluster in range(40):
        latent = (4, 8, 16, 32, 64)[cluster % 5]
        basis = np.linalg.qr(rng.standard_normal((128, latent)))[0].T
        rows = np.flatnonzero(labels == cluster)
        center = 0.5 * rng.standard_normal(128)
        out[rows] = center + rng.standard_normal((len(rows), latent)) @ basis
    return out


def test_the_worst_order_reaches_the_recall_of_the_best():
    data = clusters_of_different_dimension(5300)
    queries, base = data[:300], data[300:]
    truth = wb.knn(base, queries, 10).ids
    lid = wb.estimate_lid(base)
    before, after = {}, {}
    for descending in (True, False):
        index = wb.HnswIndex.build(base, ef_construction=48, order=wb.insertion_order(lid, descending))
        memory = index.memory_usage()
        before[descending] = reference.recall(index.search(queries, 10, ef_search=32).ids, truth)
        index.refine()
        after[descending] = reference.recall(index.search(queries, 10, ef_search=32).ids, truth)
        assert index.memory_usage() == memory
        found = index.search(base[:1000], 1, ef_search=10).ids[:, 0]
        assert np.mean(found == np.arange(1000)) > 0.99
    assert before[False] - before[True] > 0.1
    assert abs(after[False] - after[True]) < 0.01
    assert min(after.values()) > 0.96


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
@pytest.mark.parametrize("codec", ["f32", "f16", "sq8"])
def test_everything_but_the_links_stays(metric, codec):
    data = points(1500)
    index = small_index(data, metric, codec=codec)
    vectors, ids, levels = index.get_vectors(np.arange(1500)), index.ids, index.stats.level_sizes
    index.refine()
    np.testing.assert_array_equal(index.get_vectors(np.arange(1500)), vectors)
    np.testing.assert_array_equal(index.ids, ids)
    assert index.stats.level_sizes == levels
    assert index.validate() == (0, 0, 0)
    queries = points(100, 1)
    truth = wb.knn(vectors, queries, 10, metric).ids
    assert reference.recall(index.search(queries, 10, ef_search=100).ids, truth) > 0.95
    loaded = wb.HnswIndex.loads(index.dumps())
    np.testing.assert_array_equal(loaded.search(queries).ids, index.search(queries).ids)
    index.add(points(300, 2))
    assert len(index) == 1800


@pytest.mark.parametrize("options", [{}, {"batch_growth": 1, "keep_pruned": False}])
def test_the_graph_does_not_depend_on_threads(options):
    given = small_index(points(1200), **options).dumps()
    graphs = []
    for threads in (1, 2, 7):
        index = wb.HnswIndex.loads(given)
        index.refine(threads=threads)
        graphs.append(index.dumps())
    assert graphs[0] == graphs[1] == graphs[2] != given


def test_removed_points_stay_removed():
    data = points(1500)
    index = small_index(data)
    gone = np.arange(0, 120)
    index.remove(gone)
    index.refine()
    assert (len(index), index.stats.removed) == (1380, 120)
    assert index.validate() == (0, 0, 0)
    found = index.search(data[gone], 5).ids
    assert found.min() >= 120
    index.compact()
    assert index.stats.removed == 0
    np.testing.assert_array_equal(index.search(data[120:], 1, ef_search=50).ids[:, 0], np.arange(120, 1500))


@pytest.mark.parametrize("n", [0, 1, 2, 30])
def test_small_indexes(n):
    data = points(n)
    index = small_index(data, M=2)
    index.refine()
    assert len(index) == n
    found = index.search(points(3, 1), 40).ids
    assert (np.sort(found, axis=1)[:, 40 - n :] == np.arange(n)).all()
    index.remove(np.arange(n))
    index.refine()
    assert len(index) == 0


def test_equal_points_are_all_found():
    index = small_index(np.ones((50, DIM), np.float32))
    index.refine()
    assert index.validate().unreachable == 0
    np.testing.assert_array_equal(np.sort(index.search(np.ones(DIM), 50, ef_search=50).ids), np.arange(50))


def test_a_refinement_that_is_cancelled_leaves_the_links():
    index = small_index(points(3000))
    before = index.dumps()
    with pytest.raises(wb.CancelledError):
        index.refine(progress=lambda done, total: False)
    assert index.dumps() == before
    seen = []
    index.refine(progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (3000, 3000)
    with pytest.raises(ValueError, match="threads: expected"):
        index.refine(threads=-1)
