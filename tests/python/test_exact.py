"""Exact search against the float64 reference, on the CPU and on a device where there is one."""

import numpy as np
import pytest
import reference
import whimbrel as wb
from hypothesis import given, settings
from hypothesis import strategies as st

METRICS = ("l2", "ip", "cosine")


def points(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dim", [1, 3, 31, 32, 33, 100, 385])
def test_neighbors_and_distances_agree_with_the_reference(backend, metric, dim):
    data, queries = points(1200, dim), points(40, dim, seed=1)
    ids, distances = backend.knn(data, queries, 12, metric)
    true = reference.distances(data, queries, metric)
    scale = np.abs(true).max()
    assert ids.dtype == np.int64
    assert distances.dtype == np.float32
    np.testing.assert_allclose(distances, np.sort(true, axis=1)[:, :12], rtol=1e-5, atol=1e-6 * scale)
    np.testing.assert_allclose(np.take_along_axis(true, ids, 1), distances, rtol=1e-5, atol=1e-6 * scale)


@pytest.mark.parametrize("metric", METRICS)
def test_self_join_leaves_out_the_row_itself(backend, metric):
    data = points(300, 20)
    ids, distances = backend.knn(data, k=5, metric=metric)
    true_ids, true_distances = reference.knn(data, k=5, metric=metric)
    assert not np.any(ids == np.arange(300)[:, None])
    assert reference.recall(ids, true_ids) > 0.999  # rounding may swap near-ties
    np.testing.assert_allclose(distances, true_distances, rtol=1e-5, atol=1e-5)


@settings(max_examples=60)
@given(
    n=st.integers(0, 70),
    q=st.integers(0, 20),
    dim=st.sampled_from([1, 2, 31, 32, 33]),
    k=st.integers(1, 80),
    metric=st.sampled_from(("l2", "ip")),
)
def test_small_integers_are_exact_with_ties_by_row(backend, n, q, dim, k, metric):
    rng = np.random.default_rng(n * 1000 + q)
    data, queries = rng.integers(-2, 3, (n, dim)), rng.integers(-2, 3, (q, dim))
    ids, distances = backend.knn(data, queries, k, metric)
    true_ids, true_distances = reference.knn(data, queries, k, metric)
    found = min(n, k)
    assert ids.shape == distances.shape == (q, k)
    np.testing.assert_array_equal(ids[:, :found], true_ids)
    np.testing.assert_array_equal(distances[:, :found], true_distances)
    assert np.all(ids[:, found:] == -1)
    assert np.all(np.isposinf(distances[:, found:]))


def test_ties_in_large_data_are_ordered_by_row(backend):
    data = np.tile(points(50, 8), (100, 1))
    ids, distances = backend.knn(data, data[:50], k=100)
    assert np.all(distances == 0)
    np.testing.assert_array_equal(ids, np.arange(50)[:, None] + 50 * np.arange(100))


def test_duplicates_of_a_row_are_its_neighbors_in_a_self_join(backend):
    data = np.repeat(points(4, 3), 2, axis=0)
    ids, distances = backend.knn(data, k=1)
    np.testing.assert_array_equal(ids[:, 0], [1, 0, 3, 2, 5, 4, 7, 6])
    assert np.all(distances == 0)


def test_far_from_the_origin_nothing_is_missed(backend):
    data = points(3000, 24) + 1000
    ids, _ = backend.knn(data, data[:64], k=3)
    exact = reference.distances(data, data[:64], "l2")
    np.testing.assert_array_equal(ids[:, 0], np.arange(64))
    np.testing.assert_allclose(np.take_along_axis(exact, ids, 1), np.sort(exact, 1)[:, :3], rtol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_neighbors_closer_than_any_rounding_of_the_proposals_are_found(backend, metric):
    centers = 10 * points(30, 40)
    data = np.repeat(centers, 60, axis=0) + np.float32(1e-4) * points(1800, 40, seed=1)
    queries = centers + np.float32(1e-4) * points(30, 40, seed=2)
    ids, distances = backend.knn(data, queries, 12, metric)
    exact = reference.distances(data, queries, metric)
    error = 4 * 2.0**-24 * {"l2": 0, "ip": 40 * 10**2, "cosine": 1}[metric]  # of a product of the vectors
    np.testing.assert_allclose(distances, np.sort(exact, 1)[:, :12], rtol=1e-5, atol=error)
    np.testing.assert_allclose(np.take_along_axis(exact, ids, 1), distances, rtol=1e-5, atol=error)


@pytest.mark.parametrize("scale", [1e-18, 3e-22, 1e-30])
def test_rows_whose_squares_underflow_are_told_apart(backend, scale):
    data = points(2000, 40) * np.float32(scale)
    # Rounding to few bits leaves these queries as they are, so that all error is in the rows.
    queries = 1024 * np.random.default_rng(1).integers(-8, 9, (30, 40)).astype(np.float32)
    ids, _ = backend.knn(data, queries, 12, "ip")
    exact = reference.distances(data, queries, "ip")
    assert reference.recall(ids, np.argsort(exact, 1)[:, :12]) > 0.999


@pytest.mark.parametrize("n", [20, 3000])
def test_a_zero_vector_is_at_cosine_distance_1_from_everything(backend, n):
    data = points(n, 6)
    data[7] = 0
    ids, distances = backend.knn(data, np.zeros((9, 6)), k=n, metric="cosine")
    assert np.all(distances == 1)
    np.testing.assert_array_equal(ids[0], np.arange(n))
    to_zero = backend.knn(data, data[:9], k=n, metric="cosine")
    assert np.all(to_zero.distances[to_zero.ids == 7] == 1)


def test_one_point_has_no_neighbors(backend):
    ids, distances = backend.knn([[1.0, 2.0]], k=2)
    assert ids.tolist() == [[-1, -1]]
    assert np.all(np.isposinf(distances))


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.uint8, np.int32, bool])
def test_real_dtypes_are_converted(backend, dtype):
    data = np.random.default_rng(0).integers(0, 2, (30, 5)).astype(dtype)
    expected = backend.knn(data.astype(np.float32), k=3)
    found = backend.knn(data, k=3)
    np.testing.assert_array_equal(found.ids, expected.ids)


def test_strided_input_gives_the_same_as_a_copy(backend):
    wide = points(100, 12)
    expected = backend.knn(wide[::2, ::3].copy(), k=4)
    np.testing.assert_array_equal(backend.knn(wide[::2, ::3], k=4).ids, expected.ids)
    np.testing.assert_array_equal(backend.knn(np.asfortranarray(wide[::2, ::3]), k=4).ids, expected.ids)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 1e12, 1e25])
def test_cosine_does_not_depend_on_the_length_of_the_vectors(backend, scale):
    rng = np.random.default_rng(5)
    data, queries = rng.standard_normal((3000, 20)), rng.standard_normal((40, 20))
    lengths = np.where(rng.random(3000) < 0.5, scale, 1.0)[:, None]
    short = backend.knn((data * lengths).astype(np.float32), queries, 10, "cosine")
    cosine = (data @ queries.T).T / np.linalg.norm(data, axis=1) / np.linalg.norm(queries, axis=1)[:, None]
    np.testing.assert_array_equal(short.ids, np.argsort(-cosine, axis=1, kind="stable")[:, :10])
    np.testing.assert_allclose(short.distances, 1 - np.sort(cosine, axis=1)[:, ::-1][:, :10], atol=1e-6)


@pytest.mark.parametrize("n_queries", [1, 5, 100])
def test_ties_far_apart_in_the_data_are_ordered_by_row(backend, n_queries):
    data = np.random.default_rng(6).integers(0, 3, (20_000, 4)).astype(np.float32)
    queries = data[:n_queries]
    distances = ((queries[:, None, :] - data[None]) ** 2).sum(-1)
    expected = np.argsort(distances, axis=1, kind="stable")[:, :300]
    np.testing.assert_array_equal(backend.knn(data, queries, 300, threads=3).ids, expected)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("n", "dim", "k"), [(5000, 128, 10), (3001, 65, 100), (1500, 768, 1024), (900, 20, 1100)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8])
def test_results_have_the_same_bits_everywhere(backend, metric, n, dim, k, dtype):
    data, queries = (10 * points(n, dim)).astype(dtype), (10 * points(40, dim, seed=1)).astype(dtype)
    for found, expected in (
        (backend.knn(data, queries, k, metric), wb.knn(data, queries, k, metric)),
        (backend.knn(data[:700], None, k, metric), wb.knn(data[:700], None, k, metric)),
    ):
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.distances.view(np.uint32), expected.distances.view(np.uint32))


def test_outputs_are_written_to_and_returned():
    data = points(50, 4)
    out = np.full((50, 3), 7, np.int64), np.full((50, 3), np.nan, np.float32)
    found = wb.knn(data, k=3, out=out)
    assert found.ids is out[0]
    assert found.distances is out[1]
    np.testing.assert_array_equal(out[0], wb.knn(data, k=3).ids)
    np.testing.assert_array_equal(out[1], wb.knn(data, k=3).distances)
