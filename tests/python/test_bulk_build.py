"""Indexes built at once from exact candidates: what they are, and that they are indexes like others."""

import numpy as np
import pytest
import reference
import whimbrel as wb

METRICS = ("l2", "ip", "cosine")


def build(data, **kwargs):
    return wb.HnswIndex.build(data, candidates="exact", **kwargs)


def integers(n, d, high, seed=0):
    """Vectors whose distances no arithmetic rounds, many of them equal."""
    return np.random.default_rng(seed).integers(-high, high + 1, (n, d)).astype(np.float32)


@pytest.mark.parametrize("metric", ["l2", "ip"])
@pytest.mark.parametrize("keep_pruned", [True, False])
@pytest.mark.parametrize(
    ("n", "d", "high", "ef"), [(1, 3, 4, 9), (2, 3, 4, 9), (40, 3, 20, 100), (300, 4, 6, 20)]
)
def test_lists_are_those_of_the_reference(metric, keep_pruned, n, d, high, ef):
    data = integers(n, d, high)
    order = np.random.default_rng(1).permutation(n)
    index = build(data, metric=metric, M=4, ef_construction=ef, order=order, keep_pruned=keep_pruned, seed=5)
    levels = np.array([reference.random_level(5, row, 4) for row in range(n)])
    changed = 0
    for level in range(levels.max() + 1):
        members = order[levels[order] >= level]
        between = reference.distances(data[members], data[members], metric)
        fill = keep_pruned and level == 0
        lists = reference.link_level(between, ef, 4, 8 if level == 0 else 4, fill)
        for node, expected in zip(members, lists, strict=True):
            found = index.neighbors(node, level).tolist()
            changed += found != members[expected].tolist()
    # Where inner products leave small vectors without a link, the end of the build changes some lists.
    assert changed <= (n // 4 if metric == "ip" or not keep_pruned else 0)
    assert index.validate() == (0, 0, 0)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("order", ["given", "random", "lid_descending", "category"])
def test_recall_is_high_whatever_the_order(metric, order):
    points = np.random.default_rng(0).standard_normal((4100, 12)).astype(np.float32)
    base, queries = points[100:], points[:100]
    labels = (base[:, 0] > 0) + 2 * (base[:, 1] > 0) if order == "category" else None
    index = build(base, metric=metric, order=order, labels=labels)
    assert index.validate() == (0, 0, 0)
    truth = wb.knn(base, queries, 10, metric).ids
    recall = [reference.recall(index.search(queries, 10, ef_search=ef).ids, truth) for ef in (40, 160)]
    assert recall[0] > 0.94
    assert recall[1] > 0.99


@pytest.mark.parametrize("metric", METRICS)
def test_search_is_exact_when_ef_search_covers_the_index(metric, cube):
    base, queries = cube
    index = build(base, metric=metric, M=8, order="random")
    found, exact = index.search(queries, 10, ef_search=len(base)), wb.knn(base, queries, 10, metric)
    np.testing.assert_array_equal(found.ids, exact.ids)
    np.testing.assert_array_equal(found.distances, exact.distances)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 70])
def test_small_indexes_of_equal_points_work(metric, n):
    index = build(np.ones((n, 4)), metric=metric, M=4, ef_construction=30)
    assert len(index) == index.stats.size == n
    assert index.validate() == (0, 0, 0)
    ids, _ = index.search(np.ones(4), k=70)
    assert sorted(ids[:n].tolist()) == list(range(n))
    assert (ids[n:] == -1).all()


def test_one_candidate_makes_a_tree_that_can_be_searched(cube):
    index = build(cube[0], M=2, ef_construction=1)
    assert index.validate() == (0, 0, 0)
    assert sorted(index.search(cube[1][0], k=2000).ids.tolist()) == list(range(2000))


def test_zero_vectors_are_at_cosine_distance_1(cube):
    base = cube[0].copy()
    base[::500] = 0
    index = build(base, metric="cosine")
    assert np.all(index.search(np.zeros(16), k=2000).distances == 1)


def test_ids_order_and_parameters_are_kept(cube):
    base, queries = cube
    index = build(base, ids=np.arange(2000) * 3 + 5, M=8, order="random", seed=3, ef_search=31)
    np.testing.assert_array_equal(index.ids, np.arange(2000) * 3 + 5)
    assert (index.M, index.seed, index.ef_search, index.stats.order) == (8, 3, 31, "random")
    plain = build(base, M=8, order="random", seed=3)
    np.testing.assert_array_equal(index.search(queries).ids, plain.search(queries, ef_search=31).ids * 3 + 5)
    assert index.stats.level_sizes == wb.HnswIndex.build(base, M=8, seed=3).stats.level_sizes


def test_the_index_can_be_saved_and_grows_like_any_other(cube):
    base, queries = cube
    index = build(base[:1500], M=8)
    back = wb.HnswIndex.loads(index.dumps())
    for each in (index, back):
        each.add(base[1500:])
    assert index.dumps() == back.dumps()
    truth = wb.knn(base, queries, 10).ids
    assert reference.recall(index.search(queries, ef_search=100).ids, truth) > 0.97


@pytest.mark.parametrize("metric", METRICS)
def test_the_graph_does_not_depend_on_the_threads(metric):
    data = np.random.default_rng(0).standard_normal((5000, 33)).astype(np.float32)
    dumps = {
        build(data, metric=metric, order="random", ef_construction=40, threads=t).dumps() for t in (1, 2, 7)
    }
    assert len(dumps) == 1


PROGRAM = """
import hashlib, sys
import numpy as np
import whimbrel as wb
assert wb.active_isa() == sys.argv[1]
for dim in (20, 200):
    data = np.random.default_rng(0).standard_normal((1500, dim)).astype(np.float32)
    data *= np.geomspace(1, 0.1, dim, dtype=np.float32)
    for metric in ("l2", "ip", "cosine"):
        index = wb.HnswIndex.build(data, metric=metric, candidates="exact", ef_construction=30)
        print(hashlib.sha256(np.concatenate([index.neighbors(i) for i in range(1500)])).hexdigest())
"""


def test_links_are_the_same_on_every_instruction_set(isa, run_python):
    assert run_python(PROGRAM, isa, isa=isa) == run_python(PROGRAM, "baseline", isa="baseline")


def test_progress_rises_to_the_number_of_vectors():
    seen = []
    data = np.random.default_rng(0).random((20_000, 32), dtype=np.float32)
    build(data, progress=lambda done, total: seen.append((done, total)), threads=1)
    assert len(seen) > 1
    assert seen == sorted(seen)
    assert seen[-1] == (20_000, 20_000)
    with pytest.raises(wb.CancelledError):
        build(data, progress=lambda done, total: False, threads=1)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"candidates": "some"}, "candidates: expected"),
        ({"order": [0, 0]}, "order: expected each of 0 to 1 once, got 0 twice"),
        ({"order": [0]}, "order: expected"),
        ({"ids": [1, 1]}, "ids: expected"),
        ({"ids": [-1, 1]}, "ids: expected"),
        ({"M": 1}, "M: expected"),
    ],
)
def test_bad_input_is_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        wb.HnswIndex.build([[0.0], [1.0]], **{"candidates": "exact", **kwargs})


@pytest.mark.parametrize("row", [0, 1, 2999])
def test_non_finite_values_are_refused(row):
    data = np.zeros((3000, 2))
    data[row, 1] = np.nan
    with pytest.raises(ValueError, match="vectors: expected finite values"):
        build(data)


@pytest.mark.parametrize("metric", METRICS)
def test_a_gpu_builds_the_same_file(metric):
    if not wb.cuda.is_available():
        pytest.skip("no CUDA device")
    data = np.random.default_rng(0).standard_normal((6000, 20)).astype(np.float32)
    kwargs = {"metric": metric, "order": "random", "ef_construction": 60}
    assert build(data, device="cuda", **kwargs).dumps() == build(data, **kwargs).dumps()
    seen = []
    build(data, device="cuda", progress=lambda done, total: seen.append((done, total)), **kwargs)
    assert seen[-1] == (6000, 6000)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"device": "tpu"}, "device: expected None, 'cpu', 'cuda'"),
        ({"device": "cuda", "candidates": "graph"}, "device: expected None with candidates='graph'"),
    ],
)
def test_devices_that_cannot_build_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        wb.HnswIndex.build([[0.0], [1.0]], **{"candidates": "exact", **kwargs})


def test_without_a_device_there_is_an_error_that_says_so():
    if wb.cuda.is_available():
        pytest.skip("there is a device")
    with pytest.raises(wb.CudaError):
        build([[0.0], [1.0]], device="cuda")
    assert len(build([[0.0], [1.0]], device="cpu")) == 2
