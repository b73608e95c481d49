"""Indexes of int8 and uint8 vectors: kept as they are, compared in whole numbers."""

from pathlib import Path

import numpy as np
import pytest
import whimbrel as wb

DTYPES = ["int8", "uint8"]


def random_bytes(n, dim, dtype, seed=0):
    """The extremes as well, in clusters that searches can follow."""
    info = np.iinfo(dtype)
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(1).integers(info.min, info.max, (20, dim), endpoint=True)
    rows = centers[rng.integers(0, 20, n)] + rng.normal(0, 30, (n, dim))
    return np.clip(np.rint(rows), info.min, info.max).astype(dtype)


def exact(data, queries, metric):
    """All distances, as whole numbers."""
    a, b = queries.astype(np.int64), data.astype(np.int64)
    products = a @ b.T
    return -products if metric == "ip" else (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * products


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("metric", ["l2", "ip"])
@pytest.mark.parametrize("dim", [1, 63, 64, 100])
def test_distances_are_those_of_whole_numbers(dtype, metric, dim):
    data, queries = random_bytes(700, dim, dtype), random_bytes(30, dim, dtype, seed=2)
    index = wb.HnswIndex.build(data, metric=metric, M=8, ef_construction=60, dtype=dtype)
    assert index.dtype == dtype
    assert index.validate().unreachable == 0
    truth = exact(data, queries, metric)
    hits = index.search(queries, 10, exact=True)
    np.testing.assert_array_equal(hits.distances, np.sort(truth, axis=1)[:, :10].astype(np.float32))
    order = np.lexsort((np.broadcast_to(np.arange(700), truth.shape), truth.astype(np.float32)))[:, :10]
    np.testing.assert_array_equal(hits.ids, order)
    found = index.search(queries, 10, ef_search=200)
    np.testing.assert_array_equal(found.distances, np.take_along_axis(truth, found.ids, 1).astype(np.float32))
    if metric == "l2":
        assert np.mean(found.ids == hits.ids) >= 0.97
    else:
        assert np.mean(found.distances == hits.distances) >= 0.9


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_call_takes_and_gives_bytes(dtype):
    data, queries = random_bytes(900, 24, dtype), random_bytes(20, 24, dtype, seed=3)
    index = wb.HnswIndex(24, M=8, ef_construction=60, dtype=np.dtype(dtype))
    index.add(data[:600], order="lid_descending")
    index.add(data[600:650])
    np.testing.assert_array_equal(index.get_vectors([5, 649]), data[[5, 649]])
    assert index.get_vectors(7).dtype == dtype
    index.remove(np.arange(0, 600, 5))
    index.update([1, 2], data[650:652])
    current = data[:650].copy()
    current[[1, 2]] = data[650:652]
    left = np.array([i for i in range(650) if i >= 600 or i % 5])
    for _ in range(2):
        truth = exact(current[left], queries, "l2")
        hits = index.search(queries, 5, exact=True)
        np.testing.assert_array_equal(hits.distances, np.sort(truth, axis=1)[:, :5].astype(np.float32))
        allowed = left[left % 3 == 0]
        hits = index.search(queries, 5, filter=allowed, ef_search=100)
        best = np.sort(exact(current[allowed], queries, "l2"), axis=1)[:, :5]
        assert np.mean(hits.distances == best) >= 0.97
        index.compact()
    assert index.stats.removed == 0
    radius = float(np.sort(truth, axis=1)[0, 9])
    assert len(index.range_search(queries[:1], radius, ef_search=200).ids) == (truth[0] < radius).sum()
    graph = index.knn_graph(1, ef_search=100)
    own = exact(current[graph.ids], current[graph.ids], "l2")
    np.fill_diagonal(own, own.max() + 1)
    assert np.mean(graph.distances[:, 0] == own.min(axis=1)) >= 0.97
    assert index.tune(queries, 0.9, 5).measured >= 0.9
    batches = index.search_iterator(queries[0], 7)
    given = np.concatenate([next(batches).distances for _ in range(3)])
    np.testing.assert_array_equal(given, np.sort(truth[0])[:21])
    assert wb.HnswIndex.loads(index.dumps()).dumps() == index.dumps()
    assert f"dtype={dtype!r}" in repr(index)


@pytest.mark.parametrize("dtype", DTYPES)
def test_bytes_are_one_byte_a_coordinate_for_any_number_of_threads(dtype):
    data = random_bytes(1000, 256, dtype)
    indexes = []
    for threads in (1, 3):
        index = wb.HnswIndex(256, M=4, ef_construction=30, dtype=dtype)
        index.add(data, threads=threads)
        indexes.append(index)
    assert indexes[0].dumps() == indexes[1].dumps()
    floats = wb.HnswIndex.build(data, M=4, ef_construction=30)
    saved = floats.memory_usage() - indexes[0].memory_usage()
    assert saved >= 1000 * (3 * 256 - 16)  # terms of distances: 8 bytes, and room for more of them


def test_the_same_graph_as_shifted_bytes():
    """Squared distances do not know where zero is."""
    data = random_bytes(500, 40, "uint8")
    shifted = (data.astype(np.int16) - 128).astype(np.int8)
    a = wb.HnswIndex.build(data, M=5, dtype="uint8")
    b = wb.HnswIndex.build(shifted, M=5, dtype="int8")
    hits_a, hits_b = a.search(data[:50], 5), b.search(shifted[:50], 5)
    np.testing.assert_array_equal(hits_a.ids, hits_b.ids)
    np.testing.assert_array_equal(hits_a.distances, hits_b.distances)


@pytest.mark.parametrize("dtype", DTYPES)
def test_other_dtypes_are_an_error_that_names_both(dtype):
    data = random_bytes(50, 8, dtype)
    index = wb.HnswIndex.build(data, dtype=dtype)
    before = index.dumps()
    other = "uint8" if dtype == "int8" else "int8"
    for wrong in (data.astype(np.float32), data.astype(np.int64), data.astype(other), data.tolist()):
        name = np.asarray(wrong).dtype
        for call in (
            lambda w=wrong: index.add(w),
            lambda w=wrong: index.update(np.arange(50), w),
            lambda w=wrong: index.search(w),
            lambda w=wrong: index.search(w[0]),
            lambda w=wrong: index.range_search(w, 1),
            lambda w=wrong: index.search_iterator(w[0]),
            lambda w=wrong: index.tune(w),
            lambda w=wrong: wb.HnswIndex.build(w, dtype=dtype),
        ):
            with pytest.raises(TypeError, match=rf"expected dtype {dtype}.* got {name}"):
                call()
    with pytest.raises(ValueError, match=r"vectors: expected shape \(n, 8\), got \(50, 7\)"):
        index.add(data[:, :7])
    assert index.dumps() == before


def test_what_bytes_cannot_be_had_with_is_refused():
    with pytest.raises(ValueError, match="dtype: expected 'float32', 'int8' or 'uint8', got 'int16'"):
        wb.HnswIndex(4, dtype="int16")
    with pytest.raises(ValueError, match="dtype: expected"):
        wb.HnswIndex(4, dtype="no dtype")
    with pytest.raises(ValueError, match="metric: expected l2 or ip with vectors of int8"):
        wb.HnswIndex(4, metric="cosine", dtype="int8")
    for codec in ("sq8", "sq4", "auto", "f16"):
        with pytest.raises(ValueError, match="codec: expected f32 with vectors of uint8"):
            wb.HnswIndex(4, codec=codec, dtype="uint8")
    with pytest.raises(ValueError, match="dim: expected at most 32768 with vectors of int8, got 32769"):
        wb.HnswIndex(32769, dtype="int8")
    with pytest.raises(ValueError, match="candidates: expected 'graph' with dtype int8, got 'exact'"):
        wb.HnswIndex.build(np.zeros((9, 4), np.int8), candidates="exact", dtype="int8")
    index = wb.HnswIndex.build(np.zeros((3, 4), np.int16))  # converted, as ever
    assert index.dtype == np.float32


def test_the_widest_vectors_have_exact_distances():
    data = np.zeros((2, 32768), np.uint8)
    data[1] = 255
    for metric in ("l2", "ip"):
        index = wb.HnswIndex.build(data, metric=metric, dtype="uint8")
        for q in range(2):
            found = index.search(data[q], 2)
            expected = exact(data, data[q : q + 1], metric)[0].astype(np.float32)
            np.testing.assert_array_equal(found.distances, np.sort(expected))


def test_the_golden_file_of_bytes_is_read():
    index = wb.HnswIndex.load(Path(__file__).parents[1] / "data" / "bytes_v1.whb")
    data = np.random.default_rng(3).integers(-128, 128, (100, 6)).astype(np.int8)
    np.testing.assert_array_equal(index.get_vectors(np.arange(100)), data)
    assert index.search(data, 1, ef_search=50).distances.max() == 0
    index.add(data[:1], ids=[500])
    assert len(index) == 101


@pytest.mark.parametrize("dtype", DTYPES)
def test_bytes_can_stay_in_their_file(dtype, tmp_path):
    data = random_bytes(300, 70, dtype)
    index = wb.HnswIndex.build(data, M=6, dtype=dtype)
    index.save(tmp_path / "index.whb")
    mapped = wb.HnswIndex.load(tmp_path / "index.whb", mmap=True, verify=True)
    assert mapped.memory_usage() <= index.memory_usage() - 300 * 128
    np.testing.assert_array_equal(mapped.search(data, 3).distances, index.search(data, 3).distances)
    np.testing.assert_array_equal(mapped.get_vectors([0, 299]), data[[0, 299]])
    assert mapped.dumps() == index.dumps()
