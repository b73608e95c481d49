"""HnswIndex: what it finds, what it says about itself, and that it comes back as it was saved."""

import copy
import io
import pickle

import numpy as np
import pytest
import reference
import whimbrel as wb

METRICS = ("l2", "ip", "cosine")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("keep_pruned", [True, False])
def test_recall_is_high_and_grows_with_ef_search(metric, keep_pruned):
    points = np.random.default_rng(0).standard_normal((2100, 12)).astype(np.float32)
    base, queries = points[100:], points[:100]
    truth = wb.knn(base, queries, 10, metric).ids
    index = wb.HnswIndex.build(base, metric=metric, keep_pruned=keep_pruned)
    recall = [reference.recall(index.search(queries, 10, ef_search=ef).ids, truth) for ef in (10, 40, 160)]
    assert recall == sorted(recall)
    assert recall[1] > 0.95
    assert recall[2] > 0.99


@pytest.mark.parametrize("order", ["given", "random", "lid_descending", "mean_distance_descending"])
@pytest.mark.parametrize("metric", METRICS)
def test_search_is_exact_when_ef_search_covers_the_index(metric, order, cube):
    base, queries = cube
    index = wb.HnswIndex.build(base, metric=metric, M=8, order=order)
    assert index.validate() == (0, 0, 0)
    found, exact = index.search(queries, 10, ef_search=len(base)), wb.knn(base, queries, 10, metric)
    np.testing.assert_array_equal(found.ids, exact.ids)
    np.testing.assert_array_equal(found.distances, exact.distances)


def test_results_carry_the_ids_of_the_caller(cube, index):
    base, queries = cube
    plain = wb.HnswIndex.build(base, M=8, ef_construction=100, seed=3)
    np.testing.assert_array_equal(index.search(queries).ids, plain.search(queries).ids * 3 + 5)
    np.testing.assert_array_equal(index.ids, np.arange(2000) * 3 + 5)
    np.testing.assert_array_equal(index.get_vectors([5, 8]), base[:2])
    np.testing.assert_array_equal(index.get_vectors(8), base[1])


def test_shapes_and_dtypes(cube, index):
    many, one = index.search(cube[1], k=7), index.search(cube[1][0], k=7)
    assert (many.ids.shape, many.distances.shape) == ((100, 7), (100, 7))
    assert (many.ids.dtype, many.distances.dtype) == (np.int64, np.float32)
    assert one.ids.shape == one.distances.shape == (7,)
    np.testing.assert_array_equal(one.ids, many.ids[0])
    assert index.search(np.empty((0, 16)), k=7).ids.shape == (0, 7)


def test_fewer_points_than_k_are_padded():
    index = wb.HnswIndex.build([[0, 0], [3, 4]], ids=[7, 2])
    ids, distances = index.search([0, 0], k=4)
    assert ids.tolist() == [7, 2, -1, -1]
    assert distances.tolist() == [0, 25, np.inf, np.inf]


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("order", wb.ORDERS[:5])
def test_tiny_indexes_work(n, order):
    data = np.arange(n * 3).reshape(n, 3)
    index = wb.HnswIndex.build(data, order=order)
    assert len(index) == index.stats.size == n
    assert index.validate() == (0, 0, 0)
    ids, distances = index.search(np.zeros((2, 3)), k=2)
    assert ids.tolist() == [[0, 1][:n] + [-1] * (2 - n)] * 2
    assert np.isinf(distances[:, n:]).all()
    assert len(wb.HnswIndex.loads(index.dumps())) == n


@pytest.mark.parametrize("metric", METRICS)
def test_identical_points_give_distinct_ids_at_one_distance(metric):
    index = wb.HnswIndex.build(np.ones((500, 4)), metric=metric, M=4)
    assert index.validate() == (0, 0, 0)
    for k in (5, 50, 500):
        ids, distances = index.search(np.ones(4), k=k)
        assert len(set(ids.tolist())) == k
        assert ids.min() >= 0
        assert len(set(distances.tolist())) == 1


def test_every_point_can_be_found_where_large_inner_products_hide_the_small_ones():
    data = np.random.default_rng(0).uniform(0, 1, (3000, 6)) * np.linspace(0.01, 1, 3000)[:, None]
    index = wb.HnswIndex.build(data, metric="ip", M=4)
    assert index.validate() == (0, 0, 0)
    ids, _ = index.search(data[0], k=3000)
    assert len(set(ids.tolist()) - {-1}) == 3000


def test_clusters_finer_than_a_code_of_16_bits_are_told_apart():
    rng = np.random.default_rng(0)
    centers = 100 * rng.standard_normal((40, 16))
    data = np.repeat(centers, 100, axis=0) + 1e-2 * rng.standard_normal((4000, 16))
    queries = centers + 1e-2 * rng.standard_normal((40, 16))
    index = wb.HnswIndex.build(data, M=8)
    truth = wb.knn(data, queries, 10).ids
    assert reference.recall(index.search(queries, ef_search=200).ids, truth) > 0.9


def test_many_duplicates_do_not_hide_other_points(cube):
    base, queries = cube
    data = np.concatenate([np.repeat(base[:1], 500, axis=0), base])
    index = wb.HnswIndex.build(data, M=8)
    truth = wb.knn(data, queries, 10).ids
    assert reference.recall(index.search(queries, ef_search=100).ids, truth) > 0.95


def test_zero_vectors_are_at_cosine_distance_1(cube):
    base = cube[0].copy()
    base[::500] = 0
    index = wb.HnswIndex.build(base, metric="cosine")
    assert np.all(index.search(np.zeros(16), k=2000).distances == 1)
    found = index.search(base[1], k=2000, ef_search=2000)
    assert np.all(found.distances[np.isin(found.ids, [0, 500, 1000, 1500])] == 1)


def test_levels_are_a_function_of_seed_and_row(cube):
    for seed, M in ((0, 4), (9, 4), (9, 16)):
        levels = np.array([reference.random_level(seed, row, M) for row in range(2000)])
        index = wb.HnswIndex.build(cube[0], M=M, seed=seed, ef_construction=20)
        sizes = tuple(int((levels >= level).sum()) for level in range(levels.max() + 1))
        assert index.stats.level_sizes == sizes
        assert index.stats.max_level == levels.max()


def test_stats_describe_the_graph(index):
    stats = index.stats
    degrees = [len(index.neighbors(i)) for i in index.ids]
    np.testing.assert_array_equal(stats.degree_histogram, np.bincount(degrees, minlength=17))
    assert stats.mean_degree == pytest.approx(np.mean(degrees))
    assert (stats.size, stats.dim, stats.order) == (2000, 16, "given")
    assert stats.isa == wb.active_isa()
    assert stats.memory_bytes == index.memory_usage() > 2000 * (16 + 16) * 4
    assert stats.build_seconds > 0
    assert max(len(index.neighbors(i, 1)) for i in index.ids) <= 8


def test_properties_are_the_parameters():
    index = wb.HnswIndex(3, "ip", 5, 50, ef_search=33, seed=2**64 - 1, batch_growth=1.5, keep_pruned=False)
    found = (index.dim, index.metric, index.M, index.ef_construction, index.ef_search)
    assert found == (3, "ip", 5, 50, 33)
    assert (index.seed, index.batch_growth, index.keep_pruned) == (2**64 - 1, 1.5, False)
    assert len(index) == 0
    assert "metric='ip'" in repr(index)
    back = wb.HnswIndex.loads(index.dumps())
    assert (back.seed, back.batch_growth, back.keep_pruned) == (2**64 - 1, 1.5, False)


def test_default_ef_search_can_be_set_and_is_saved(cube, index):
    mine = wb.HnswIndex.loads(index.dumps())
    mine.ef_search = 11
    expected = index.search(cube[1], ef_search=11)
    for other in (mine, wb.HnswIndex.loads(mine.dumps())):
        assert other.ef_search == 11
        np.testing.assert_array_equal(other.search(cube[1]).ids, expected.ids)


def test_ef_search_below_k_means_k(cube, index):
    small, equal = (index.search(cube[1], k=30, ef_search=ef) for ef in (1, 30))
    np.testing.assert_array_equal(small.ids, equal.ids)


def test_counts_are_the_work_of_each_query(cube, index):
    hits, counts = index.search_with_counts(cube[1], k=5, ef_search=20)
    np.testing.assert_array_equal(hits.ids, index.search(cube[1], k=5, ef_search=20).ids)
    assert counts.distances.shape == counts.hops.shape == (100,)
    assert np.all(counts.hops >= 20)
    assert np.all(counts.distances > counts.hops)
    assert np.all(index.search_with_counts(cube[1], k=5, ef_search=80)[1].distances > counts.distances)
    single = index.search_with_counts(cube[1][0], k=5, ef_search=20)[1]
    assert single == (counts.distances[0], counts.hops[0])


def test_adding_in_parts_finds_everything(cube):
    base, queries = cube
    index = wb.HnswIndex(16, M=8)
    for part in (base[:1], base[1:700], base[700:700], base[700:]):
        index.add(part)
    assert len(index) == 2000
    np.testing.assert_array_equal(index.ids, np.arange(2000))
    assert index.validate() == (0, 0, 0)
    truth = wb.knn(base, queries, 10).ids
    assert reference.recall(index.search(queries, ef_search=80).ids, truth) > 0.97


def test_explicit_ids_can_follow_row_numbers():
    index = wb.HnswIndex.build([[0.0], [1.0]])
    index.add([[2.0]], ids=[100])
    assert index.ids.tolist() == [0, 1, 100]
    assert index.search([2.1], k=1).ids.tolist() == [100]


@pytest.mark.parametrize(
    "way", ["path", "pathlike", "bytes path", "file", "BytesIO", "bytes", "pickle", "copy"]
)
def test_a_saved_index_comes_back_equal(way, cube, index, tmp_path):
    path = tmp_path / "größe 1.whb"
    if way in ("path", "pathlike", "bytes path"):
        name = {"path": str(path), "pathlike": path, "bytes path": str(path).encode()}[way]
        index.save(name)
        back = wb.HnswIndex.load(name)
        assert [p.name for p in tmp_path.iterdir()] == [path.name]
    elif way == "file":
        with path.open("wb", buffering=0) as f:
            index.save(f)
        with path.open("rb") as f:
            back = wb.HnswIndex.load(f)
    elif way == "BytesIO":
        buffer = io.BytesIO()
        index.save(buffer)
        assert buffer.getvalue() == index.dumps()
        buffer.seek(0)
        back = wb.HnswIndex.load(buffer)
    elif way == "bytes":
        back = wb.HnswIndex.loads(memoryview(bytearray(index.dumps())))
    else:
        back = pickle.loads(pickle.dumps(index)) if way == "pickle" else copy.deepcopy(index)
    assert back.dumps() == index.dumps()
    assert back.stats.order is None
    found, expected = back.search(cube[1]), index.search(cube[1])
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.distances, expected.distances)


def test_a_loaded_index_grows_like_the_original(cube):
    base, _ = cube
    original = wb.HnswIndex.build(base[:900], M=8)
    loaded = wb.HnswIndex.loads(original.dumps())
    for index in (original, loaded):
        index.add(base[900:], order="random")
    assert original.dumps() == loaded.dumps()


def test_neighbors_are_links_between_existing_ids(index):
    ids = set(index.ids.tolist())
    for i in list(ids)[:100]:
        linked = index.neighbors(i).tolist()
        assert len(linked) == len(set(linked))
        assert i not in linked
        assert ids.issuperset(linked)


@pytest.mark.parametrize(
    ("metric", "offset"), [("l2", 0), ("l2", 1e3), ("l2", 1e5), ("cosine", 0), ("cosine", 1e3)]
)
def test_recall_survives_data_far_from_the_origin_and_distant_clusters(metric, offset):
    """Building on short codes must not blur what lies close together for its distance from the rest."""
    rng = np.random.default_rng(3)
    centers = rng.standard_normal((8, 16)) * 300
    data = (centers[rng.integers(0, 8, 4000)] + rng.standard_normal((4000, 16)) + offset).astype(np.float32)
    index = wb.HnswIndex.build(data, metric=metric)
    found = index.search(data[:200], 10, ef_search=200).ids
    assert reference.recall(found, wb.knn(data, data[:200], 10, metric).ids) > 0.9


def test_coordinates_of_unequal_variance_change_nothing_that_is_returned():
    """An l2 index then stores its rows in another order of coordinates and reads them in stages."""
    rng = np.random.default_rng(7)
    points = (rng.standard_normal((3100, 160)) * rng.permutation(np.geomspace(1, 0.01, 160))).astype(
        np.float32
    )
    data, queries = points[100:], points[:100]
    index = wb.HnswIndex.build(data[:2000])
    index.add(data[2000:])
    truth = wb.knn(data, queries, 10)
    found = index.search(queries, 10, ef_search=len(data))
    np.testing.assert_array_equal(found.ids, truth.ids)
    np.testing.assert_array_equal(found.distances, truth.distances)
    np.testing.assert_array_equal(index.get_vectors([0, 1999, 2999]), data[[0, 1999, 2999]])
    again = wb.HnswIndex.loads(index.dumps())
    assert again.dumps() == index.dumps()
    np.testing.assert_array_equal(again.search(queries, 10).ids, index.search(queries, 10).ids)
