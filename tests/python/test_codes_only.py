"""rerank="none": vectors that are dropped once there are codes, and what is returned instead of them."""

import numpy as np
import pytest
import whimbrel as wb


def points(n, dim=72, seed=0):
    """Clusters away from zero."""
    rng = np.random.default_rng(seed)
    centers = 3 + np.random.default_rng(1).standard_normal((30, dim))
    return (centers[rng.integers(0, 30, n)] + 0.4 * rng.standard_normal((n, dim))).astype(np.float32)


def build(data, metric="l2", **params):
    return wb.HnswIndex.build(data, metric=metric, M=8, ef_construction=60, rerank="none", **params)


def low_rank(n, dim=160, seed=0):
    """Points of twelve dimensions in many more, away from zero."""
    rng = np.random.default_rng(seed)
    basis = np.random.default_rng(1).standard_normal((12, dim)) / np.sqrt(dim)
    return (0.1 + rng.standard_normal((n, 12)) @ basis).astype(np.float32)


CASES = [(m, c) for c in ("sq8", "sq4") for m in ("l2", "ip", "cosine")] + [
    ("ip", "auto"),
    ("cosine", "auto"),
]


@pytest.mark.parametrize(("metric", "codec"), CASES)
def test_distances_are_those_of_what_codes_stand_for(metric, codec):
    auto = codec == "auto"
    n = 8200 if auto else 1500
    data = low_rank(n) if auto else points(n)
    queries = low_rank(10, seed=2) if auto else points(40, seed=2)
    index = build(data, metric, codec=codec)
    assert index.stats.projected == auto
    assert index.rerank == "none"
    assert index.stats.code_dim > 0
    assert index.validate().unreachable == 0
    decoded = index.get_vectors(np.arange(n))
    true = data / np.linalg.norm(data, axis=1)[:, None] if metric == "cosine" else data
    assert np.abs(decoded - true).max() < (0.2 if codec == "sq4" else 0.05) * np.abs(true).max()
    if metric == "cosine":
        np.testing.assert_allclose(np.linalg.norm(decoded, axis=1), 1, atol=1e-6)
    truth = wb.knn(decoded, queries, 10, metric)
    found = index.search(queries, 10, exact=True)
    np.testing.assert_allclose(found.distances, truth.distances, rtol=1e-5, atol=1e-5)
    if metric != "cosine":  # knn would normalize once more
        np.testing.assert_array_equal(found.distances, truth.distances)
        np.testing.assert_array_equal(found.ids, truth.ids)
    hits = index.search(queries, 10, ef_search=100)
    assert np.mean([len(np.intersect1d(a, b)) for a, b in zip(hits.ids, found.ids, strict=True)]) >= 9.3
    best = wb.knn(data, queries, 10, metric)
    assert np.mean([len(np.intersect1d(a, b)) for a, b in zip(hits.ids, best.ids, strict=True)]) >= (
        6 if codec == "sq4" else 8.5
    )


def test_the_memory_of_the_vectors_is_gone():
    data = points(1500, 256)
    kept = wb.HnswIndex.build(data, M=8, codec="sq8")
    only = wb.HnswIndex.build(data, M=8, codec="sq8", rerank="none")
    half = wb.HnswIndex.build(data, M=8, codec="sq4", rerank="none")
    assert half.memory_usage() == only.memory_usage() - 1500 * 128
    assert only.memory_usage() <= kept.memory_usage() - 1500 * (4 * 256 - 8)
    assert len(only.dumps()) <= len(kept.dumps()) - 1500 * 4 * 256


@pytest.mark.parametrize(("metric", "codec"), [("l2", "sq8"), ("ip", "sq8"), ("l2", "sq4"), ("ip", "sq4")])
def test_changes_go_on_with_the_codes_that_were_learned(metric, codec):
    data, more, queries = points(1200), points(6000, seed=4), points(30, seed=5)
    index = build(data[:1000], metric, codec=codec)
    assert index.stats.code_dim == 0  # too few to learn from: vectors
    np.testing.assert_array_equal(index.get_vectors([7]), data[[7]])
    before = index.search(queries, 5)
    np.testing.assert_array_equal(
        wb.HnswIndex.loads(index.dumps()).search(queries, 5).distances, before.distances
    )
    index.add(data[1000:])
    decoded = index.get_vectors(np.arange(1200))
    index.add(more)  # four times as many do not learn anew
    np.testing.assert_array_equal(index.get_vectors(np.arange(1200)), decoded)
    index.remove(np.arange(0, 3000, 2))
    index.update([1, 3], more[:2])
    index.add(more[:2], ids=[9000, 9001])
    np.testing.assert_array_equal(index.get_vectors([1, 3]), index.get_vectors([9000, 9001]))
    index.compact()
    assert index.validate().unreachable == 0
    assert index.stats.removed == 0
    truth = index.search(queries, 10, exact=True)
    rows = index.get_vectors(index.ids)
    np.testing.assert_array_equal(truth.distances, wb.knn(rows, queries, 10, metric).distances)
    hits = index.search(queries, 10, ef_search=150)
    assert np.mean([len(np.intersect1d(a, b)) for a, b in zip(hits.ids, truth.ids, strict=True)]) >= 9.3
    allowed = index.ids[index.ids % 5 == 0]
    near = index.search(queries, 5, filter=allowed, ef_search=100).distances
    exact = index.search(queries, 5, filter=allowed, exact=True).distances
    assert np.mean(near == exact) >= 0.95
    assert index.tune(queries, 0.9).measured >= 0.9
    assert index.knn_graph(1, filter=allowed[:50]).neighbors.min() >= 0
    index.remove(index.ids)
    index.add(data[:10], ids=np.arange(10))
    np.testing.assert_array_equal(index.get_vectors(np.arange(10)), data[:10])  # as new


@pytest.mark.parametrize("codec", ["sq8", "sq4"])
def test_files_and_threads(tmp_path, codec):
    data = points(1300)
    indexes = []
    for threads in (1, 3):
        index = wb.HnswIndex(72, M=6, codec=codec, rerank="none")
        index.add(data[:1100], threads=threads)
        index.add(data[1100:], threads=threads)
        indexes.append(index)
    saved = indexes[0].dumps()
    assert indexes[1].dumps() == saved
    again = wb.HnswIndex.loads(saved)
    assert (again.rerank, again.codec) == ("none", codec)
    again.add(data[:50])
    indexes[0].add(data[:50])
    assert again.dumps() == indexes[0].dumps()
    (tmp_path / "index.whb").write_bytes(saved)
    mapped = wb.HnswIndex.load(tmp_path / "index.whb", mmap=True)
    np.testing.assert_array_equal(mapped.search(data, 3).ids, indexes[1].search(data, 3).ids)
    assert mapped.dumps() == saved
    for size in range(0, len(saved), 997):
        with pytest.raises(wb.FormatError):
            wb.HnswIndex.loads(saved[:size])


def test_vectors_stay_where_codes_would_not_do():
    data = points(1500) * np.float32(1e30)
    index = build(data, codec="sq8")
    assert index.stats.code_dim == 0
    np.testing.assert_array_equal(index.get_vectors([3]), data[[3]])
    index.add(data[:10])
    far = (points(1500) + 1e6).astype(np.float32)  # products whose terms would overflow
    index = build(far, "ip", codec="sq8")
    index.remove(np.arange(500))
    index.add(far[:20])
    index.compact()
    assert index.search(far[:5], 3, exact=True).ids.min() >= 0


def test_codes_there_have_to_be():
    for codec in ("f32", "f16"):
        with pytest.raises(ValueError, match=f"^rerank: expected {codec} with codec {codec}, got none$"):
            wb.HnswIndex(4, codec=codec, rerank="none")
    with pytest.raises(ValueError, match="rerank: expected 'f32', 'f16' or 'none', got 'no'"):
        wb.HnswIndex(4, codec="sq8", rerank="no")
