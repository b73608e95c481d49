"""Distances of all pairs: against the reference on the CPU, and with the same bits everywhere else."""

import numpy as np
import pytest
import reference
import whimbrel as wb

METRICS = ("l2", "ip", "cosine")


def points(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def same_bits(a, b):
    assert a.dtype == b.dtype == np.float32
    np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dim", [1, 3, 31, 32, 33, 100, 385])
def test_distances_agree_with_the_reference(backend, metric, dim):
    data, queries = points(700, dim), points(9, dim, seed=1)
    found = backend.pairwise_distances(data, queries, metric)
    true = reference.distances(data, queries, metric)
    np.testing.assert_allclose(found, true, rtol=1e-5, atol=1e-6 * np.abs(true).max())


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e15])
def test_distances_have_the_same_bits_everywhere(backend, metric, scale):
    data, queries = scale * points(300, 77), points(11, 77, seed=1)
    data[5] = 0
    same_bits(backend.pairwise_distances(data, queries, metric), wb.pairwise_distances(data, queries, metric))


@pytest.mark.parametrize("metric", METRICS)
def test_distances_are_those_of_knn(metric):
    data, queries = points(60, 20), points(5, 20, seed=1)
    ids, distances = wb.knn(data, queries, 60, metric)
    found = wb.pairwise_distances(data, queries, metric)
    np.testing.assert_array_equal(np.take_along_axis(found, ids, 1), distances)


@pytest.mark.parametrize("metric", METRICS)
def test_without_queries_the_rows_are_the_queries(backend, metric):
    data = points(40, 6)
    same_bits(backend.pairwise_distances(data, metric=metric), wb.pairwise_distances(data, data, metric))


@pytest.mark.parametrize(("n", "q"), [(0, 3), (3, 0), (0, 0), (1, 1)])
def test_of_nothing_there_are_no_distances(backend, n, q):
    assert backend.pairwise_distances(points(n, 4), points(q, 4)).shape == (q, n)


def test_numbers_of_threads_and_instruction_sets_do_not_matter(isa, run_python):
    program = """
import sys, numpy as np, whimbrel as wb
rng = np.random.default_rng(0)
data, queries = rng.standard_normal((1100, 50)), rng.standard_normal((7, 50))
for threads in (1, 3):
    sys.stdout.write(wb.pairwise_distances(data, queries, threads=threads).tobytes().hex())
"""
    rng = np.random.default_rng(0)
    data, queries = rng.standard_normal((1100, 50)), rng.standard_normal((7, 50))
    expected = wb.pairwise_distances(data, queries).tobytes().hex()
    assert run_python(program, isa=isa) == 2 * expected


def test_output_is_written_to_and_returned():
    data, queries = points(30, 4), points(3, 4, seed=1)
    out = np.full((3, 30), np.nan, np.float32)
    assert wb.pairwise_distances(data, queries, out=out) is out
    same_bits(out, wb.pairwise_distances(data, queries))


def test_bad_input_is_named():
    data = points(5, 4)
    spoiled = data.copy()
    spoiled[3, 1] = np.nan
    for text, call in (
        (r"data: expected shape \(n, d\), got \(4,\)", lambda: wb.pairwise_distances(data[0])),
        (r"queries: expected shape \(n, 4\), got \(5, 3\)", lambda: wb.pairwise_distances(data, data[:, :3])),
        ("metric: expected 'l2'", lambda: wb.pairwise_distances(data, metric="l1")),
        ("data: expected finite values, .* row 3", lambda: wb.pairwise_distances(spoiled)),
        ("queries: expected finite values, .* row 3", lambda: wb.pairwise_distances(data, spoiled)),
        ("device: expected None, 'cpu', 'cuda'", lambda: wb.pairwise_distances(data, device="gpu")),
        ("device: expected None, 'cpu', 'cuda'", lambda: wb.pairwise_distances(data, device="cuda:x")),
        ("out: expected a numpy array of float32", lambda: wb.pairwise_distances(data, out=np.zeros(3))),
        ("out: expected a numpy array of float32", lambda: wb.pairwise_distances(data, out=[1])),
    ):
        with pytest.raises(ValueError, match=text):
            call()


def test_a_call_can_be_cancelled():
    data = points(2000, 300)
    with pytest.raises(wb.CancelledError):
        wb.pairwise_distances(data, progress=lambda done, total: False)
