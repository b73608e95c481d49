"""HnswIndex under change: removing, replacing, adding again, compacting; saved in any state of it."""

from pathlib import Path

import numpy as np
import pytest
import reference
import whimbrel as wb

DIM = 12


def points(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float16).astype(np.float32)


def codec_options(codec):
    return {"codec": codec, "rerank": "f16" if codec == "f16" else "f32"}


@pytest.mark.parametrize("codec", ["f32", "f16", "sq8"])
@pytest.mark.parametrize("share", [0.001, 0.05, 0.2, 0.9])
def test_removed_points_are_not_found_and_all_others_are(codec, share):
    data = points(2000)
    index = wb.HnswIndex.build(data, M=6, ef_construction=50, **codec_options(codec))
    gone = np.random.default_rng(1).permutation(2000)[: int(share * 2000)]
    index.remove(gone)
    kept = np.setdiff1d(np.arange(2000), gone)
    assert (len(index), index.stats.size, index.stats.removed) == (len(kept), len(kept), len(gone))
    np.testing.assert_array_equal(index.ids, kept)
    for _ in range(2):
        assert index.validate().unreachable == index.validate().dead_edges == 0
        queries = np.concatenate([data[gone[:50]], data[::20]])
        found = index.search(queries, 10, ef_search=60).ids
        assert not np.isin(found, gone).any()
        true_ids = kept[wb.knn(data[kept], queries, 10).ids]
        assert reference.recall(found, true_ids) > 0.95
        everything = index.search(data[0], len(kept) + 5, ef_search=3000).ids
        np.testing.assert_array_equal(np.sort(everything[everything >= 0]), kept)
        index.compact()
        assert index.stats.removed == 0
        np.testing.assert_array_equal(index.get_vectors(kept), data[kept])
        np.testing.assert_array_equal(index.ids, kept)


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_recall_after_twenty_rounds_of_churn_is_that_of_a_fresh_build(metric):
    rng = np.random.default_rng(3)
    pool, queries = points(4500, 1), points(200, 2)
    present = np.arange(1500)
    index = wb.HnswIndex.build(pool[present], present, metric, M=8, ef_construction=60)
    for turn in range(20):
        gone = rng.permutation(present)[:150]
        fresh = np.arange(1500 + 150 * turn, 1650 + 150 * turn)
        index.remove(gone)
        index.add(pool[fresh], fresh)
        present = np.concatenate([np.setdiff1d(present, gone), fresh])
    assert sorted(index.ids.tolist()) == sorted(present.tolist())
    new = wb.HnswIndex.build(pool[present], metric=metric, M=8, ef_construction=60)
    true_rows = wb.knn(pool[present], queries, 10, metric).ids
    fresh_recall = reference.recall(new.search(queries, 10, ef_search=30).ids, true_rows)
    for step in ("churned", "compacted"):
        assert index.validate().unreachable == 0, step
        found = index.search(queries, 10, ef_search=30).ids
        assert reference.recall(found, present[true_rows]) > fresh_recall - 0.01, step
        index.compact()


def test_recall_after_every_vector_was_replaced_five_times_is_that_of_a_fresh_build():
    rng = np.random.default_rng(4)
    data = points(1500)
    index = wb.HnswIndex.build(data, M=8, ef_construction=60)
    for turn in range(5):
        for i, part in enumerate(np.array_split(rng.permutation(1500), 5)):
            data[part] = points(len(part), 100 + 10 * turn + i) if turn % 2 else data[part] * 0.9
            index.update(part, data[part])
    queries = points(200, 9)
    true_ids = wb.knn(data, queries, 10).ids
    fresh = wb.HnswIndex.build(data, M=8, ef_construction=60).search(queries, 10, ef_search=30).ids
    found = index.search(queries, 10, ef_search=30).ids
    assert reference.recall(found, true_ids) > reference.recall(fresh, true_ids) - 0.01
    np.testing.assert_array_equal(index.get_vectors(np.arange(1500)), data)
    assert index.validate().unreachable == 0


def test_replaced_vectors_are_found_in_their_new_place_only():
    data = points(500)
    index = wb.HnswIndex.build(data, np.arange(500) + 7, M=6)
    index.update([9, 8], [[100] * DIM, [120] * DIM])
    assert len(index) == 500
    assert index.search([100] * DIM, 2).ids.tolist() == [9, 8]
    assert index.search(data[2], 500, ef_search=500).ids.tolist().count(9) == 1
    assert index.search(data[2], 1).ids[0] != 9
    assert index.ids[-2:].tolist() == [9, 8]
    np.testing.assert_array_equal(index.get_vectors([8]), [[120] * DIM])
    assert index.search(data[0], 1, filter=[8, 9]).ids.tolist() == [9]


def test_a_removed_id_can_be_added_again():
    data = points(300)
    index = wb.HnswIndex.build(data, M=4)
    index.remove([5, 6])
    index.add([[50] * DIM], ids=[6])
    assert index.search([50] * DIM, 1).ids.tolist() == [6]
    assert 5 not in index.ids
    with pytest.raises(ValueError, match="ids: expected ids not in the index, got 6"):
        index.add([[50] * DIM], ids=[6])
    index.add([[60] * DIM], ids=[5])
    assert sorted(index.ids.tolist()) == list(range(300))
    assert index.validate().dead_edges == 0


def test_numbers_are_not_given_twice():
    index = wb.HnswIndex.build(points(10), M=4)
    index.remove([8, 9])
    index.add(points(2))
    assert index.ids.tolist() == [*range(8), 10, 11]
    index.remove([10, 11])
    index.compact()
    index = wb.HnswIndex.loads(index.dumps())
    index.add(points(1))
    assert index.ids.tolist() == [*range(8), 12]
    index.remove(index.ids)
    assert len(index) == 0
    index.add(points(2))
    assert index.ids.tolist() == [13, 14]


@pytest.mark.parametrize("codec", ["f32", "f16", "sq8"])
def test_all_points_can_be_removed_and_others_added(codec):
    data = points(1500)
    index = wb.HnswIndex.build(data, np.arange(1500), M=6, **codec_options(codec))
    for parts in ([np.arange(1500)], [np.arange(1499), [1499]], np.array_split(np.arange(1500), 7)):
        for part in parts:
            index.remove(part)
        assert len(index) == 0
        assert index.ids.size == 0
        assert index.stats.removed == index.stats.code_dim == 0
        assert index.validate() == (0, 0, 0)
        assert index.search(data[0], 2).ids.tolist() == [-1, -1]
        assert wb.HnswIndex.loads(index.dumps()).search(data[0], 2).ids.tolist() == [-1, -1]
        index.compact()
        index.add(data, np.arange(1500))
        assert index.search(data[3], 1).ids.tolist() == [3]
        assert index.validate() == (0, 0, 0)
    fresh = wb.HnswIndex.build(data, np.arange(1500), M=6, **codec_options(codec))
    assert index.dumps() == fresh.dumps()


def test_a_region_that_was_emptied_can_be_filled_again():
    rng = np.random.default_rng(0)
    clusters = [(rng.standard_normal((400, DIM)) + 30 * c).astype(np.float32) for c in range(12)]
    index = wb.HnswIndex.build(np.concatenate(clusters), np.arange(4800), M=6, ef_construction=40)
    for _ in range(2):
        index.remove(np.arange(400, 800))  # an eleventh of what is left: links still lead through it
        for row in range(400, 420):
            index.add(clusters[1][row - 400 : row - 399], [row])
        index.add(clusters[1][20:], np.arange(420, 800))
        hits = index.search(clusters[1], 1, ef_search=40).ids[:, 0]
        assert np.mean(hits == np.arange(400, 800)) > 0.99
        index.compact()
        assert index.validate().unreachable == 0


def test_the_graph_does_not_depend_on_the_number_of_threads():
    data, rng = points(1200), np.random.default_rng(0)
    gone = rng.permutation(1000)[:300]
    saved = set()
    for threads in (1, 2, 5):
        index = wb.HnswIndex.build(data[:1000], M=5, threads=threads)
        index.remove(gone, threads=threads)
        index.add(data[1000:], threads=threads)
        index.update([1000, 1001], data[:2], threads=threads)
        before = index.dumps()
        index.compact(threads=threads)
        saved.add((before, index.dumps()))
    assert len(saved) == 1


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("codec", ["f32", "sq8"])
def test_removed_points_stay_removed_in_a_file(given, codec):
    data = points(1200)
    ids = np.arange(1200) * 3 + 2 if given else None
    index = wb.HnswIndex.build(data, ids, M=5, codec=codec)
    for share in (0.02, 0.5):
        names = index.ids
        index.remove(names[: int(share * len(names))])
        back = wb.HnswIndex.loads(index.dumps())
        assert back.dumps() == index.dumps()
        np.testing.assert_array_equal(back.ids, index.ids)
        assert back.stats.removed == index.stats.removed
        for other in (index, back):
            hits = other.search(data[:20], 5, ef_search=40)
            assert np.isin(hits.ids, index.ids).all()
            np.testing.assert_array_equal(hits.ids, index.search(data[:20], 5, ef_search=40).ids)


def test_places_of_a_filter_are_those_of_the_points_that_are_left():
    data = points(100)
    index = wb.HnswIndex.build(data, M=4)
    index.remove([0, 50])
    places = np.zeros(98, bool)
    places[[0, 97]] = True
    assert sorted(index.search(data[3], 2, filter=places).ids.tolist()) == [1, 99]
    with pytest.raises(ValueError, match="filter: expected one value per point, 98, got 100"):
        index.search(data[3], filter=np.ones(100, bool))
    some = wb.IdFilter([50, 51])
    assert index.search(data[3], 2, filter=some).ids.tolist() == [51, -1]
    index.add(data[50:51], ids=[50])
    assert sorted(index.search(data[3], 2, filter=some).ids.tolist()) == [50, 51]
    index.compact()
    assert sorted(index.search(data[3], 2, filter=some).ids.tolist()) == [50, 51]
    assert index.search(data[50], 1, exact=True).ids.tolist() == [50]


def test_neighbors_do_not_name_removed_points():
    index = wb.HnswIndex.build(points(200), M=4)
    gone = index.neighbors(0)[0]
    index.remove(gone)
    assert gone not in index.neighbors(0)
    for call in (index.neighbors, index.get_vectors, index.remove):
        with pytest.raises(IndexError, match=f"expected (an id|ids) in the index, got {gone}"):
            call(int(gone))


def test_bad_changes_are_errors_and_change_nothing():
    index = wb.HnswIndex.build(points(50), M=4)
    before = index.dumps()
    vector = np.zeros((1, DIM))
    for call, error, text in (
        (lambda: index.remove([3, 50]), IndexError, "ids: expected ids in the index, got 50"),
        (lambda: index.remove(-1), IndexError, "ids: expected ids in the index, got -1"),
        (lambda: index.remove([1.5]), TypeError, "ids: expected integers"),
        (lambda: index.remove([[1]]), ValueError, r"ids: expected shape \(n,\)"),
        (lambda: index.remove([1], threads=-1), ValueError, "threads: expected"),
        (lambda: index.update([50], vector), IndexError, "ids: expected ids in the index, got 50"),
        (
            lambda: index.update([1, 1], np.zeros((2, DIM))),
            ValueError,
            "ids: expected each once, got 1 twice",
        ),
        (lambda: index.update([1, 2], vector), ValueError, "ids: expected one per vector, 1, got 2"),
        (lambda: index.update([1], vector[:, 1:]), ValueError, "vectors: expected shape"),
        (lambda: index.update([1], vector * np.nan), ValueError, "vectors: expected finite values"),
        (lambda: index.update([1], vector, threads=2000), ValueError, "threads: expected"),
        (lambda: index.compact(threads=-1), ValueError, "threads: expected"),
    ):
        with pytest.raises(error, match=text):
            call()
        assert index.dumps() == before
    index.remove([])
    index.update([], np.empty((0, DIM)))
    index.compact()
    assert index.dumps() == before


@pytest.mark.parametrize("given", [False, True])
def test_a_change_that_is_cancelled_leaves_the_old_vectors(given):
    data = points(3000)
    index = wb.HnswIndex.build(data, np.arange(3000)[::-1] if given else None, M=4, ef_construction=30)
    before = index.dumps()
    with pytest.raises(wb.CancelledError):
        index.update(np.arange(2000), data[:2000] + 1, progress=lambda done, total: False)
    assert index.dumps() == before
    with pytest.raises(wb.CancelledError):
        index.add(data, np.arange(3000) + 5000, progress=lambda done, total: False)
    assert index.dumps() == before


def test_a_golden_file_keeps_what_was_removed_and_tuned():
    index = wb.HnswIndex.load(Path(__file__).parents[1] / "data" / "changed_v1.whb")
    data = np.random.default_rng(2).integers(0, 50, (120, 6)).astype(np.float32)
    kept = np.setdiff1d(np.arange(119), [1, *range(0, 40, 2)])
    np.testing.assert_array_equal(index.ids, kept)
    assert index.stats.removed == 22
    assert [(t.recall, t.k) for t in index.tuned] == [(0.9, 5)]
    found = index.search(data, 5, ef_search=120)
    truth = wb.knn(data[kept], data, 5)
    np.testing.assert_array_equal(found.ids, kept[truth.ids])
    np.testing.assert_array_equal(found.distances, truth.distances)
    index.add(data[:1])
    assert index.ids[-1] == 120


def test_a_file_with_false_ids_is_refused(forge):
    index = wb.HnswIndex.build(points(40), M=4)
    index.remove([3])
    saved = index.dumps()
    for place, value in ((3, -2), (3, 4), (0, 99), (40, 5), (40, -1)):
        with pytest.raises(wb.FormatError):
            wb.HnswIndex.loads(
                forge(saved, b"IDS ", 8 * place, int(value).to_bytes(8, "little", signed=True))
            )
    with pytest.raises(wb.FormatError):
        wb.HnswIndex.loads(forge(saved, b"PARM", 68, (3).to_bytes(4, "little")))
    none = forge(saved, b"IDS ", 0, (-1).to_bytes(8, "little", signed=True) * 40)
    with pytest.raises(wb.FormatError, match="points that are not removed"):
        wb.HnswIndex.loads(none)
