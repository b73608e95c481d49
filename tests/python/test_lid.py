"""LID estimates against the reference, and the invariants that any of them must have."""

import numpy as np
import pytest
import reference
import whimbrel as wb

ESTIMATORS = ("mle", "levina_bickel", "unbiased", "mom")
WORKED = np.array([[0.5, 0.8, 0.9, 1.0]])


def estimate(backend, r, **options):
    """LID from true distances: `neighbors` takes those of the metric, which are squared."""
    r = np.atleast_2d(np.asarray(r, np.float64))
    return backend.estimate_lid(neighbors=(np.zeros(r.shape, int), r**2), **options)


def ball(rng, n, d):
    """Points uniform in the unit ball."""
    x = rng.standard_normal((n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True) * rng.random((n, 1)) ** (1 / d)


@pytest.mark.parametrize(
    ("estimator", "value"),
    [("mle", 3.91523), ("levina_bickel", 2.93642), ("unbiased", 1.95762), ("mom", 4.0)],
)
def test_worked_example(backend, estimator, value):
    assert estimate(backend, WORKED, estimator=estimator)[0] == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_estimates_agree_with_the_reference(backend, estimator, metric):
    data = np.random.default_rng(0).standard_normal((800, 24)).astype(np.float32)
    _, squared = reference.knn(data, k=40, metric=metric)
    true = [reference.lid(np.sqrt(row * (2 if metric == "cosine" else 1)), estimator) for row in squared]
    found = backend.estimate_lid(data, k=40, metric=metric, estimator=estimator)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, true, rtol=1e-5)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_scaling_distances_changes_nothing(backend, estimator):
    r = np.sort(np.random.default_rng(0).random((50, 30)) + 0.1, axis=1)
    np.testing.assert_allclose(
        estimate(backend, r * 37, estimator=estimator), estimate(backend, r, estimator=estimator), rtol=1e-5
    )


@pytest.mark.parametrize("estimator", ESTIMATORS[:3])
@pytest.mark.parametrize("power", [0.5, 2, 3])
def test_raising_distances_to_a_power_divides_by_it(backend, estimator, power):
    r = np.sort(np.random.default_rng(0).random((50, 30)) + 0.1, axis=1)
    np.testing.assert_allclose(
        estimate(backend, r**power, estimator=estimator),
        estimate(backend, r, estimator=estimator) / power,
        rtol=1e-5,
    )


@pytest.mark.parametrize("d", [2, 5, 20])
def test_unbiased_estimator_has_mean_d_at_the_center_of_a_uniform_ball(backend, d):
    rng, draws = np.random.default_rng(d), 500
    radii = np.sort(rng.random((draws, 1000)) ** (1 / d), axis=1)[:, :100]
    mean = estimate(backend, radii, estimator="unbiased").mean()
    assert abs(mean - d) < 3 * d / np.sqrt(97) / np.sqrt(draws)


@pytest.mark.parametrize("d", [1, 2, 4])
def test_points_of_a_ball_in_a_larger_space_have_its_dimension(backend, d):
    rng = np.random.default_rng(d)
    inner = ball(rng, 10_000, d)
    turn = np.linalg.qr(rng.standard_normal((30, d)))[0].T
    data = inner @ turn
    far_inside = np.linalg.norm(inner, axis=1) < 0.5
    lid = backend.estimate_lid(data, estimator="unbiased")[far_inside]
    assert lid.mean() == pytest.approx(d, rel=0.05)


def test_ratio_estimators_sort_alike(backend):
    data = np.random.default_rng(0).standard_normal((500, 12))
    orders = [wb.insertion_order(backend.estimate_lid(data, k=20, estimator=e)) for e in ESTIMATORS[:3]]
    np.testing.assert_array_equal(orders[0], orders[1])
    np.testing.assert_array_equal(orders[0], orders[2])


def test_rotation_translation_scaling_and_embedding_change_nothing(backend):
    rng = np.random.default_rng(0)
    data = rng.standard_normal((1000, 10))
    rotation = np.linalg.qr(rng.standard_normal((10, 10)))[0]
    expected = backend.estimate_lid(data)
    for moved in (data @ rotation, data + 1.5, data * 64, np.pad(data, ((0, 0), (0, 23)))):
        np.testing.assert_allclose(backend.estimate_lid(moved), expected, rtol=1e-4)


def test_given_neighbors_are_used_instead_of_a_search(backend):
    data = np.random.default_rng(0).random((400, 6))
    for metric in ("l2", "cosine"):
        neighbors = backend.knn(data, k=50, metric=metric)
        np.testing.assert_array_equal(
            backend.estimate_lid(k=30, neighbors=neighbors, metric=metric),
            backend.estimate_lid(data, k=30, metric=metric),
        )


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_duplicates_are_left_out(backend, estimator):
    r = np.array([[0, 0, 0.5, 0.8, 0.9, 1.0]])
    assert estimate(backend, r, estimator=estimator) == estimate(backend, WORKED, estimator=estimator)
    assert estimate(backend, [[0, 0, 0]], estimator=estimator) == 0
    assert estimate(backend, [[0, 0, 2]], estimator=estimator) == 0


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_equal_distances_give_the_largest_value(backend, estimator):
    assert estimate(backend, [[1, 1, 1]], estimator=estimator) == 1e4
    assert estimate(backend, [[0, 0.3, 0.3]], estimator=estimator) == 1e4


def test_missing_neighbors_are_left_out(backend):
    assert estimate(backend, [[0.5, 0.8, 0.9, 1.0, np.inf]]) == estimate(backend, WORKED)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_points_have_defined_values(backend, n):
    lid = backend.estimate_lid(np.arange(n * 2).reshape(n, 2))
    assert lid.shape == (n,)
    assert np.all(np.isfinite(lid))


def test_identical_points_have_lid_0(backend):
    assert np.all(backend.estimate_lid(np.ones((200, 4))) == 0)


def test_report_summarizes_the_estimates():
    data = np.random.default_rng(0).random((1500, 5))
    report = wb.lid_report(data, k=40)
    lid = wb.estimate_lid(data, k=40)
    np.testing.assert_array_equal(report.lid, lid)
    assert (report.n, report.dim, report.k, report.duplicates) == (1500, 5, 40, 0)
    assert report.percentiles[50] == np.median(lid)
    assert report.spread == pytest.approx(np.percentile(lid, 95) / np.percentile(lid, 5))
    assert report.global_lid == pytest.approx(1 / np.mean(1 / lid))
    assert report.verdict.split()[:5] == ["Insertion", "order", "is", "unlikely", "to"]
    assert all(text in str(report) for text in ("1,500 points", "p50", "harmonic mean"))


def test_report_says_that_order_matters_for_a_core_with_a_sparse_periphery():
    rng = np.random.default_rng(0)
    data = rng.gamma(2, 1, (4000, 1)) * rng.standard_normal((4000, 24))
    report = wb.lid_report(data)
    assert report.mean_distance_correlation > 0.4
    assert "likely to matter" in report.verdict


def test_report_of_duplicates_is_finite_where_it_can_be():
    report = wb.lid_report(np.repeat([[0, 0], [1, 1]], 5, axis=0), k=4)
    assert (report.duplicates, report.global_lid, report.mean_distance_correlation) == (10, 0, 0)
    assert report.spread == 1
    assert "unlikely" in report.verdict
