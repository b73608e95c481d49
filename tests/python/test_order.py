"""Insertion orders: what they are, and what they do to a graph."""

import numpy as np
import pytest
import reference
import whimbrel as wb


def heavy_tailed(rng, n):
    """A dense core with a sparse periphery: norms spread over a Gamma distribution, 32 of 128 dimensions."""
    basis = np.linalg.qr(rng.standard_normal((128, 32)))[0].T
    return (rng.gamma(2, 1, (n, 1)) * rng.standard_normal((n, 32)) @ basis).astype(np.float32)


def clusters(rng, n):
    """40 clusters whose dimension is 2 to 64, and the number of each point's cluster."""
    labels = rng.integers(0, 40, n)
    points = rng.standard_normal((40, 128))[labels]
    for c in range(40):
        dim, members = (2, 4, 8, 16, 32, 64)[c % 6], np.flatnonzero(labels == c)
        basis = np.linalg.qr(rng.standard_normal((128, dim)))[0].T
        points[members] += 8 / np.sqrt(dim) * rng.standard_normal((len(members), dim)) @ basis
    return points.astype(np.float32), labels


def test_values_are_sorted_stably_either_way():
    values = np.array([2.0, np.inf, 2.0, -1.0, np.inf])
    assert wb.insertion_order(values).tolist() == [1, 4, 0, 2, 3]
    assert wb.insertion_order(values, descending=False).tolist() == [3, 0, 2, 1, 4]


@pytest.mark.parametrize("name", wb.ORDERS)
@pytest.mark.parametrize("n", [0, 1, 2, 300])
def test_every_name_gives_a_permutation(name, n):
    data = np.random.default_rng(0).random((n, 4))
    labels = np.arange(n) % 3 if name == "category" else None
    order = wb.named_order(data, name, labels=labels)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(n))


def test_random_order_agrees_with_the_reference():
    for seed in (0, 1, 2**64 - 1):
        order = wb.named_order(np.zeros((200, 1)), "random", seed=seed)
        np.testing.assert_array_equal(order, reference.random_order(200, seed))


def test_category_order_sorts_labels_and_shuffles_inside_them():
    labels = np.array(list("banana" * 20))
    order = wb.named_order(np.zeros((120, 1)), "category", labels=labels, seed=4)
    np.testing.assert_array_equal(labels[order], np.sort(labels))
    shuffled = reference.random_order(120, 4)
    np.testing.assert_array_equal(order[:60], shuffled[labels[shuffled] == "a"])


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_lid_and_distance_orders_are_those_of_their_values(metric):
    data = np.random.default_rng(0).standard_normal((500, 8)).astype(np.float32) + 0.5
    lid = wb.estimate_lid(data, metric="cosine" if metric == "cosine" else "l2")
    unit = data / np.linalg.norm(data, axis=1, keepdims=True) if metric == "cosine" else data
    distance = ((unit - unit.mean(axis=0, dtype=np.float64)) ** 2).sum(axis=1)
    order = {name: wb.named_order(data, name, metric=metric) for name in wb.ORDERS[2:5]}
    np.testing.assert_array_equal(order["lid_descending"], wb.insertion_order(lid))
    np.testing.assert_array_equal(order["lid_ascending"], wb.insertion_order(lid, descending=False))
    np.testing.assert_array_equal(order["mean_distance_descending"][:20], wb.insertion_order(distance)[:20])


def test_distance_to_mean_agrees_with_the_reference():
    data = np.random.default_rng(0).random((3000, 7))
    expected = ((data - data.mean(axis=0)) ** 2).sum(axis=1)
    np.testing.assert_allclose(wb.distance_to_mean(data), expected, rtol=1e-5)


@pytest.mark.parametrize("name", wb.ORDERS)
def test_a_name_builds_the_graph_of_its_permutation(name, cube):
    base = cube[0][:400]
    labels = np.arange(400) % 7 if name == "category" else None
    order = wb.named_order(base, name, labels=labels, seed=5)
    by_name = wb.HnswIndex.build(base, M=6, seed=5, order=name, labels=labels)
    by_order = wb.HnswIndex.build(base, M=6, seed=5, order=order)
    assert by_name.dumps() == by_order.dumps()
    assert (by_name.stats.order, by_order.stats.order) == (name, "permutation")


def test_order_decides_the_graph_but_not_ids_levels_or_vectors(cube):
    base = cube[0]
    given, reverse = (wb.HnswIndex.build(base, M=6, order=o) for o in ("given", np.arange(2000)[::-1]))
    assert given.dumps() != reverse.dumps()
    assert given.stats.level_sizes == reverse.stats.level_sizes
    np.testing.assert_array_equal(given.get_vectors([0, 1999]), reverse.get_vectors([0, 1999]))


def test_descending_lid_order_keeps_more_edges_and_recall_where_density_falls_off():
    data = heavy_tailed(np.random.default_rng(0), 8500)
    queries, base = data[:500], data[500:]
    truth = wb.knn(base, queries, 10).ids
    lid = wb.estimate_lid(base)
    recall, degree = {}, {}
    for descending in (True, False):
        index = wb.HnswIndex.build(
            base,
            ef_construction=128,
            keep_pruned=False,
            batch_growth=1,
            order=wb.insertion_order(lid, descending),
        )
        recall[descending] = reference.recall(index.search(queries, 10, ef_search=10).ids, truth)
        degree[descending] = index.stats.mean_degree
    assert recall[True] > recall[False] + 0.2
    assert degree[True] > 2 * degree[False]


def test_category_order_does_not_matter_for_separate_clusters():
    data, labels = clusters(np.random.default_rng(0), 6300)
    truth = wb.knn(data[300:], data[:300], 10).ids
    recall = {}
    for order in ("random", "category"):
        index = wb.HnswIndex.build(
            data[300:],
            ef_construction=128,
            order=order,
            labels=labels[300:] if order == "category" else None,
        )
        recall[order] = reference.recall(index.search(data[:300], 10, ef_search=20).ids, truth)
    assert abs(recall["random"] - recall["category"]) < 0.02
