"""Searches other than for the k nearest of a query: radius, graph of neighbors, batches; and tuning."""

import numpy as np
import pytest
import reference
import whimbrel as wb

N, DIM = 3000, 16


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((N, DIM)).astype(np.float32), rng.standard_normal((40, DIM)).astype(np.float32)


@pytest.fixture(scope="module", params=[("l2", "f32"), ("ip", "f32"), ("cosine", "f32"), ("l2", "sq8")])
def index(data, request):
    metric, codec = request.param
    return wb.HnswIndex.build(data[0], np.arange(N) * 2, metric, M=8, ef_construction=60, codec=codec)


@pytest.mark.parametrize("rank", [0, 1, 20, 300, N])
def test_range_search_finds_what_is_below_the_radius(index, data, rank):
    exact = wb.knn(data[0], data[1], N, index.metric)
    radius = float("inf") if rank == N else float(np.median(exact.distances[:, rank]))
    hits = index.range_search(data[1], radius)
    surely = index.range_search(data[1], radius, exact=True)
    found = 0
    assert hits.offsets.shape == (41,)
    for q in range(40):
        n = int((exact.distances[q] < radius).sum())
        part = slice(*surely.offsets[q : q + 2])
        np.testing.assert_array_equal(surely.ids[part], exact.ids[q, :n] * 2)
        np.testing.assert_array_equal(surely.distances[part], exact.distances[q, :n])
        part = slice(*hits.offsets[q : q + 2])
        assert np.all(np.diff(hits.distances[part]) >= 0)
        assert set(hits.ids[part].tolist()) <= set(surely.ids[slice(*surely.offsets[q : q + 2])].tolist())
        found += hits.offsets[q + 1] - hits.offsets[q]
    assert found >= 0.97 * len(surely.ids)
    single = index.range_search(data[1][3], radius)
    np.testing.assert_array_equal(single.ids, hits.ids[slice(*hits.offsets[3:5])])
    assert single.offsets.tolist() == [0, len(single.ids)]


def test_range_search_takes_filters_and_leaves_removed_points_out(data):
    index = wb.HnswIndex.build(data[0], M=8)
    index.remove(range(0, N, 3))
    allowed = np.arange(0, N, 2)
    hits = index.range_search(data[1], 20, filter=allowed, exact=True)
    near = index.range_search(data[1], 20, filter=allowed)
    kept = np.setdiff1d(allowed, np.arange(0, N, 3))
    truth = reference.distances(data[0][kept], data[1], "l2") < 20
    np.testing.assert_array_equal(np.diff(hits.offsets), truth.sum(axis=1))
    assert set(hits.ids.tolist()) <= set(kept.tolist())
    assert len(near.ids) >= 0.97 * len(hits.ids)


def test_a_radius_that_is_no_number_is_an_error(data):
    index = wb.HnswIndex.build(data[0][:50])
    with pytest.raises(ValueError, match="radius: expected a number, got NaN"):
        index.range_search(data[1], float("nan"))
    with pytest.raises(ValueError, match="queries: expected shape"):
        index.range_search(data[1][:, 1:], 1.0)
    with pytest.raises(ValueError, match="ef_search: expected"):
        index.range_search(data[1], 1.0, ef_search=0)
    empty = wb.HnswIndex(3).range_search(np.zeros((2, 3)), 1e9)
    assert empty.offsets.tolist() == [0, 0, 0]


@pytest.mark.parametrize("exact", [False, True])
def test_the_graph_of_neighbors_is_a_join_of_the_index_with_itself(index, data, exact):
    graph = index.knn_graph(6, ef_search=80, exact=exact)
    truth = wb.knn(data[0], k=6, metric=index.metric)
    np.testing.assert_array_equal(graph.ids, index.ids)
    assert not (graph.neighbors == graph.ids[:, None]).any()
    assert reference.recall(graph.neighbors, truth.ids * 2) > (0.999 if exact else 0.98)
    same = graph.neighbors == truth.ids * 2
    np.testing.assert_allclose(graph.distances[same], truth.distances[same], rtol=1e-5, atol=1e-6)


def test_the_graph_of_neighbors_of_few_points():
    index = wb.HnswIndex.build([[0.0], [1.0], [3.0]], [5, 6, 7])
    graph = index.knn_graph(3)
    assert graph.neighbors.tolist() == [[6, 7, -1], [5, 7, -1], [6, 5, -1]]
    assert graph.distances.tolist() == [[1, 9, np.inf], [1, 4, np.inf], [4, 9, np.inf]]
    index.remove(6)
    graph = index.knn_graph(1, filter=[5])
    assert (graph.ids.tolist(), graph.neighbors.tolist()) == ([5, 7], [[-1], [5]])
    assert wb.HnswIndex(2).knn_graph(2).neighbors.shape == (0, 2)
    equal = wb.HnswIndex.build(np.ones((40, 3)), M=4).knn_graph(3)
    assert not (equal.neighbors == equal.ids[:, None]).any()
    with pytest.raises(ValueError, match="k: expected"):
        index.knn_graph(0)
    with pytest.raises(wb.CancelledError):
        index.knn_graph(1, progress=lambda done, total: False)


@pytest.mark.parametrize("batch_size", [1, 7, 5000])
def test_batches_go_on_where_the_last_one_ended(index, data, batch_size):
    batches, ids = [], []
    for batch in index.search_iterator(data[1][0], batch_size):
        assert len(batch.ids) == len(batch.distances) <= batch_size
        batches.append(batch)
        ids += batch.ids.tolist()
        if len(ids) > 600:
            break
    distances = np.concatenate([b.distances for b in batches])
    assert np.all(np.diff(distances) >= 0)
    assert len(set(ids)) == len(ids)
    truth = index.search(data[1][0], len(ids), exact=True).ids
    assert np.isin(truth, ids).mean() > 0.97
    assert {len(b.ids) for b in batches[:-1]} <= {batch_size}


def test_batches_end_with_the_index_and_follow_filters_and_changes(data):
    index = wb.HnswIndex.build(data[0][:200], M=6)
    seen = [i for batch in index.search_iterator(data[1][0], 30) for i in batch.ids.tolist()]
    assert sorted(seen) == list(range(200))
    mask = np.arange(200) % 2 == 0
    for filter in (
        mask,
        np.flatnonzero(mask),
        set(np.flatnonzero(mask).tolist()),
        wb.IdFilter(range(0, 200, 2)),
    ):
        walk = index.search_iterator(data[1][0], 30, filter=filter)
        first = next(walk).ids
        seen = first.tolist() + [i for batch in walk for i in batch.ids.tolist()]
        assert sorted(seen) == list(range(0, 200, 2))
    walk = index.search_iterator(data[1][0], 10)
    first = next(walk).ids
    index.remove(np.setdiff1d(np.arange(200), first)[:100])
    rest = [i for batch in walk for i in batch.ids.tolist()]
    assert len(rest) >= 80
    assert not np.isin(rest[20:], np.setdiff1d(np.arange(200), index.ids)).any()
    assert not np.isin(rest, first).any()
    assert list(wb.HnswIndex(2).search_iterator([0, 0])) == []


def test_bad_batches_are_errors(data):
    index = wb.HnswIndex.build(data[0][:50])
    with pytest.raises(ValueError, match="batch_size: expected"):
        index.search_iterator(data[1][0], 0)
    with pytest.raises(ValueError, match=r"query: expected shape \(16,\), got \(2, 16\)"):
        index.search_iterator(data[1][:2])
    with pytest.raises(ValueError, match="query: expected"):
        index.search_iterator(data[1][0][:3])
    with pytest.raises(ValueError, match="filter: expected one value per point"):
        index.search_iterator(data[1][0], filter=np.ones(3, bool))


@pytest.mark.parametrize("recall", [0.8, 0.95, 0.99])
def test_tuned_searches_have_the_recall_they_were_tuned_for(index, data, recall):
    mine = wb.HnswIndex.loads(index.dumps())
    rng = np.random.default_rng(5)
    queries, others = rng.standard_normal((2, 300, DIM)).astype(np.float32)
    tuned = mine.tune(queries, recall, 10)
    assert tuned.measured >= recall
    assert mine.tuned == (tuned,)
    for q, floor in ((queries, recall), (others, recall - 0.03)):
        truth = wb.knn(data[0], q, 10, mine.metric).ids * 2
        hits = mine.search(q, 10, recall=recall)
        assert reference.recall(hits.ids, truth) >= floor
        np.testing.assert_array_equal(hits.ids, mine.search(q, 10, ef_search=tuned.ef_search).ids)
    if tuned.ef_search > 10:
        less = mine.search(queries, 10, ef_search=max(10, tuned.ef_search * 7 // 8)).ids
        assert reference.recall(less, wb.knn(data[0], queries, 10, mine.metric).ids * 2) < recall + 0.02


def test_points_of_the_index_stand_in_for_queries(data):
    """Each is searched for in the graph without it, so the beam is that of queries from the same source."""
    index = wb.HnswIndex.build(data[0], M=8, ef_construction=60)
    own = index.tune(recall=0.95)
    queries = np.random.default_rng(7).standard_normal((500, DIM)).astype(np.float32)
    truth = wb.knn(data[0], queries, 10).ids
    assert abs(reference.recall(index.search(queries, 10, recall=0.95).ids, truth) - 0.95) < 0.03
    assert own == wb.HnswIndex.loads(index.dumps()).tune(recall=0.95, threads=1)


def test_what_was_tuned_is_kept_and_serves_less(data):
    index = wb.HnswIndex.build(data[0][:500], M=4, ef_construction=30)
    high = index.tune(data[1], 0.99, 10)
    low = index.tune(data[1], 0.5, 10)
    other = index.tune(data[1], 0.9, 20)
    assert index.tuned == (low, high, other)
    back = wb.HnswIndex.loads(index.dumps())
    assert back.tuned == index.tuned
    assert back.dumps() == index.dumps()
    for asked, k, used in (
        (0.4, 10, low),
        (0.5, 10, low),
        (0.6, 10, None),
        (0.99, 3, high),
        (0.7, 15, other),
    ):
        hits = back.search(data[1], k, recall=asked)
        ef = min(high.ef_search, other.ef_search) if used is None else used.ef_search
        np.testing.assert_array_equal(hits.ids, back.search(data[1], k, ef_search=ef).ids)
    for asked, k in ((0.995, 10), (0.95, 11), (0.5, 21)):
        with pytest.raises(
            ValueError, match=f"recall: expected an index tuned for at least {asked}.* at k = {k}"
        ):
            back.search(data[1], k, recall=asked)
    assert index.tune(data[1], 0.5, 10) == low
    assert len(index.tuned) == 3


def test_bad_tuning_is_an_error_and_changes_nothing(data):
    index = wb.HnswIndex.build(data[0][:100])
    before = index.dumps()
    for call, text in (
        (lambda: index.tune(data[1], 0), "recall: expected a number above 0"),
        (lambda: index.tune(data[1], 1.1), "recall: expected a number above 0 and at most 1"),
        (lambda: index.tune(data[1], float("nan")), "recall: expected a number above 0"),
        (lambda: index.tune(data[1], 0.9, 0), "k: expected"),
        (lambda: index.tune(data[1][0]), "queries: expected shape"),
        (
            lambda: index.tune(data[1][:0]),
            "queries: expected some, and other points in the index, got 0 and 100",
        ),
        (lambda: index.tune(data[1] * np.inf), "queries: expected finite values"),
        (lambda: index.tune(threads=-1), "threads: expected"),
        (
            lambda: wb.HnswIndex(3).tune(),
            "queries: expected some, and other points in the index, got 0 and 0",
        ),
        (lambda: wb.HnswIndex.build([[1.0]]).tune(), "got 1 and 0"),
        (lambda: index.search(data[1], recall=0.9), "recall: expected an index tuned for at least 0.9"),
        (lambda: index.search(data[1], recall=2), "recall: expected a number above 0"),
        (lambda: index.search(data[1], recall=0.9, ef_search=3), "recall: expected None beside ef_search=3"),
    ):
        with pytest.raises(ValueError, match=text):
            call()
    assert index.dumps() == before


def test_a_recall_out_of_reach_says_what_can_be_reached():
    """Projected codes of points that differ only where the projection does not look."""
    rng = np.random.default_rng(0)
    wide = np.zeros((2000, 300), np.float32)
    wide[:, :2] = np.repeat(rng.standard_normal((20, 2)), 100, axis=0)
    wide[:, 2:] = 1e-4 * rng.standard_normal((2000, 298))
    index = wb.HnswIndex.build(wide, M=4, ef_construction=20, codec="sq8")
    with pytest.raises(ValueError, match=r"recall: expected at most 0\.\d+, .* got 1"):
        index.tune(wide[::20] + 1e-4 * rng.standard_normal((100, 300)).astype(np.float32), 1.0)


def test_a_file_with_false_results_of_tuning_is_refused(data, forge):
    index = wb.HnswIndex.build(data[0][:300], M=4)
    index.tune(data[1], 0.9)
    saved = index.dumps()
    for place, value in (
        (0, np.float64(1.5)),
        (0, np.float64("nan")),
        (8, np.float64(-1)),
        (16, np.uint64(0)),
        (16, np.uint64(2**40)),
        (24, np.uint32(0)),
        (24, np.uint32(2_000_000)),
    ):
        with pytest.raises(wb.FormatError, match="results of tuning"):
            wb.HnswIndex.loads(forge(saved, b"TUNE", place, value.tobytes()))
