"""Options by row while an index is built, and beams by query."""

import numpy as np
import pytest
import whimbrel as wb

DIM = 10


def points(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)


def build(data, **options):
    return wb.HnswIndex.build(data, M=5, ef_construction=30, **options)


@pytest.mark.parametrize("candidates", ["graph", "exact"])
def test_levels_are_those_that_were_given(candidates):
    data, levels = points(700), np.arange(700) % 7 // 5 * 2
    index = build(data, per_row=wb.PerRow(levels=levels), candidates=candidates)
    assert index.stats.level_sizes == (700, 200, 200)
    assert [len(index.neighbors(i, 2)) > 0 for i in range(7)] == [level == 2 for level in levels[:7]]
    assert index.validate() == (0, 0, 0)
    index.add(points(3, 1), per_row=wb.PerRow(levels=[0, 3, 0]))
    assert index.stats.level_sizes == (703, 201, 201, 1)
    loaded = wb.HnswIndex.loads(index.dumps())
    np.testing.assert_array_equal(loaded.search(data).ids, index.search(data).ids)


def test_values_that_are_those_of_the_index_change_nothing():
    data = points(800)
    order = np.random.default_rng(1).permutation(800)
    plain = build(data, order=order)
    same = wb.PerRow(ef_construction=np.full(800, 30), links=np.full(800, 5))
    assert build(data, order=order, per_row=same).dumps() == plain.dumps()


def test_rows_with_more_links_and_wider_beams_get_them():
    data = points(1000)
    rich = np.arange(1000) % 2 == 0
    index = build(data, per_row=wb.PerRow(links=np.where(rich, 10, 1)))
    degree = np.array([len(index.neighbors(i)) for i in range(1000)])
    assert degree[rich].mean() > degree[~rich].mean() + 1
    recalls = []
    queries = points(100, 1)
    truth = wb.knn(data, queries, 10).ids
    for beam in (1, 200):
        index = build(data, per_row=wb.PerRow(ef_construction=np.full(1000, beam)))
        found = index.search(queries, 10, ef_search=20).ids
        recalls.append(np.mean([np.isin(a, b).mean() for a, b in zip(found, truth, strict=True)]))
    assert recalls[1] > recalls[0] + 0.3


def test_options_by_row_do_not_depend_on_threads():
    data, rng = points(900), np.random.default_rng(2)
    per_row = wb.PerRow(rng.integers(0, 3, 900), rng.integers(1, 60, 900), rng.integers(1, 11, 900))
    graphs = {build(data, per_row=per_row, threads=threads).dumps() for threads in (1, 3)}
    assert len(graphs) == 1


def test_a_beam_for_each_query():
    data, queries = points(2000), points(60, 1)
    index = build(data)
    efs = np.arange(60) % 3 * 40 + 10
    mixed, counts = index.search_with_counts(queries, 5, ef_search=efs)
    for ef in (10, 50, 90):
        one, one_counts = index.search_with_counts(queries[efs == ef], 5, ef_search=ef)
        np.testing.assert_array_equal(mixed.ids[efs == ef], one.ids)
        np.testing.assert_array_equal(counts.distances[efs == ef], one_counts.distances)
    assert index.search(queries[0], 5, ef_search=[10]).ids.shape == (5,)
    assert index.search(np.empty((0, DIM)), 5, ef_search=np.empty(0, int)).ids.shape == (0, 5)


@pytest.mark.parametrize(
    ("per_row", "error", "message"),
    [
        ({"levels": [0, 1]}, ValueError, "levels: expected 3 values, got 2"),
        ({"levels": [0, 1, 64]}, ValueError, "levels: expected 0..63, got 64"),
        ({"levels": [0, -1, 0]}, ValueError, "levels: expected 0..63, got -1"),
        ({"levels": [0.0, 1.0, 2.0]}, TypeError, "levels: expected"),
        ({"ef_construction": [1, 2, 3, 4]}, ValueError, "ef_construction: expected 3 values, got 4"),
        ({"ef_construction": [1, 0, 3]}, ValueError, "ef_construction: expected 1..1000000, got 0"),
        ({"links": [[1, 2, 3]]}, ValueError, "links: expected"),
        ({"links": [1, 2, 11]}, ValueError, "links: expected 1..10, got 11"),
    ],
)
def test_bad_options_by_row_are_errors_and_change_nothing(per_row, error, message):
    index = build(points(20))
    before = index.dumps()
    with pytest.raises(error, match=message):
        index.add(points(3), per_row=wb.PerRow(**per_row))
    assert index.dumps() == before


def test_whole_levels_take_no_beams_or_links_by_row():
    for options in ({"links": [1, 1, 1]}, {"ef_construction": [5, 5, 5]}):
        with pytest.raises(ValueError, match="ef_construction, links: expected none by row"):
            build(points(3), candidates="exact", per_row=wb.PerRow(**options))


@pytest.mark.parametrize(
    ("efs", "error", "message"),
    [
        ([10, 20], ValueError, "ef_search: expected one, or one per query, 3, got 2"),
        ([10, 0, 20], ValueError, "ef_search: expected 1..1000000, got 0"),
        ([10, 20, 1_000_001], ValueError, "ef_search: expected 1..1000000, got 1000001"),
        ([1.5, 2.5, 3.5], TypeError, "ef_search: expected"),
        (0, ValueError, "ef_search: expected 1..1000000, got 0"),
        (-1, ValueError, "ef_search: expected 1..1000000, got -1"),
        (2.5, TypeError, "ef_search: expected an integer, got float"),
        ("2", TypeError, "ef_search: expected an integer, got str"),
    ],
)
def test_bad_beams_by_query_are_errors(efs, error, message):
    index = build(points(20))
    with pytest.raises(error, match=message):
        index.search(points(3), 5, ef_search=efs)
