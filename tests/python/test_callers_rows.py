"""Indexes over arrays that stay the caller's, and files without vectors."""

import gc
import pickle
import sys
import weakref

import numpy as np
import pytest
import whimbrel as wb

OPTIONS = {"M": 4, "ef_construction": 20}


@pytest.fixture
def rows(cube):
    return cube[0][:600].copy()


def same(found, expected):
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("options", [{}, {"codec": "sq8"}, {"candidates": "exact"}, {"order": "random"}])
def test_an_index_without_a_copy_is_the_same(cube, options):
    rows = np.tile(cube[0][:550], (2, 1)) + np.float32(0.5)
    over = wb.HnswIndex.build(rows, copy=False, **OPTIONS, **options)
    copy = wb.HnswIndex.build(rows, **OPTIONS, **options)
    assert over.dumps() == copy.dumps()
    same(over.search(cube[1], 5), copy.search(cube[1], 5))
    assert over.stats.borrowed_bytes == rows.nbytes
    assert over.memory_usage() == copy.memory_usage() - rows.nbytes


def test_rows_may_lie_apart_and_in_a_file(rows, tmp_path):
    wide = np.zeros((len(rows), 23), np.float32)
    wide[:, 2:18] = rows
    np.save(tmp_path / "rows.npy", rows)
    copy = wb.HnswIndex.build(rows, **OPTIONS)
    for array in (wide[:, 2:18], np.load(tmp_path / "rows.npy", mmap_mode="r")):
        over = wb.HnswIndex.build(array, copy=False, **OPTIONS)
        same(over.search(rows[:9], 5, ef_search=600), copy.search(rows[:9], 5, ef_search=600))


def test_the_array_lives_as_long_as_the_index(rows):
    for how in ({}, {"candidates": "exact"}):
        array = rows.copy()
        before = sys.getrefcount(array)
        over = wb.HnswIndex.build(array, copy=False, **OPTIONS, **how)
        assert sys.getrefcount(array) > before
        gone = weakref.ref(array)
        del array
        gc.collect()
        assert gone() is not None
        np.testing.assert_array_equal(over.get_vectors([7]), rows[7:8])
        del over
        gc.collect()
        assert gone() is None
    before = sys.getrefcount(rows)
    copy = wb.HnswIndex.build(rows, **OPTIONS)
    assert sys.getrefcount(rows) == before
    assert len(copy) == 600


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 3)),
        np.zeros((4, 3), ">f4"),
        np.zeros((4, 3), np.float32, order="F"),
        np.zeros((4, 6), np.float32)[:, ::2],
        np.zeros((4, 3), np.float32)[::-1],
        np.broadcast_to(np.zeros(3, np.float32), (4, 3)),
        np.zeros(4, np.float32),
        np.zeros((4, 0), np.float32),
        np.zeros(49, np.uint8)[1:].view(np.float32).reshape(4, 3),
        [[0.0, 1.0]],
    ],
    ids=[
        "float64",
        "byte order",
        "columns",
        "every other",
        "backwards",
        "one row",
        "vector",
        "none",
        "odd",
        "list",
    ],
)
def test_arrays_that_have_to_be_copied_are_refused(array):
    with pytest.raises(ValueError, match="vectors: expected an ndarray of float32"):
        wb.HnswIndex.build(array, copy=False)


def test_what_an_index_cannot_read_in_place_is_refused(rows):
    with pytest.raises(ValueError, match="vectors: expected rows of length 1 for cosine"):
        wb.HnswIndex.build(rows, metric="cosine", copy=False)
    with pytest.raises(ValueError, match="rerank: expected f32"):
        wb.HnswIndex.build(rows, codec="f16", copy=False)
    with pytest.raises(ValueError, match="vectors: expected int8, which the index holds, got float32"):
        wb.HnswIndex.build(rows, dtype="int8", copy=False)
    rows[5, 3] = np.nan
    with pytest.raises(ValueError, match=r"vectors: expected finite values, got .* in row 5"):
        wb.HnswIndex.build(rows, copy=False)


def test_normalized_rows_are_read_in_place(rows):
    rows -= 0.5
    unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    over = wb.HnswIndex.build(unit, metric="cosine", copy=False, **OPTIONS)
    found = over.search(rows[:20], 5, ef_search=600)
    truth = wb.knn(rows, rows[:20], 5, metric="cosine")
    np.testing.assert_array_equal(found.ids, truth.ids)
    np.testing.assert_allclose(found.distances, truth.distances, atol=1e-6)


def test_it_takes_no_changes_and_a_copy_does(rows):
    over = wb.HnswIndex.build(rows, copy=False, **OPTIONS)
    for change in (
        lambda index: index.add(rows[:1]),
        lambda index: index.remove([5]),
        lambda index: index.update([5], rows[:1]),
        lambda index: index.compact(),
        lambda index: index.refine(),
    ):
        with pytest.raises(ValueError, match="index: expected one that has its vectors"):
            change(over)
        change(pickle.loads(pickle.dumps(over)))
    assert over.stats.borrowed_bytes == rows.nbytes


def test_changing_the_array_changes_results_and_nothing_else(rows):
    over = wb.HnswIndex.build(rows, copy=False, **OPTIONS)
    query = rows[5].copy()
    rows[:300] = np.nan
    found = over.search(query, 600, ef_search=600, exact=True)
    assert not np.isnan(found.distances).any()
    assert np.isinf(found.distances).sum() == 300
    with pytest.raises(ValueError, match="vectors: expected finite values still"):
        over.dumps()


@pytest.mark.parametrize("mmap", [False, True])
def test_a_file_without_vectors_gets_them_at_the_load(rows, tmp_path, mmap):
    index = wb.HnswIndex.build(np.tile(rows, (2, 1)), copy=True, codec="sq8", **OPTIONS)
    array = np.tile(rows, (2, 1))
    index.save(tmp_path / "all.whb")
    index.save(tmp_path / "links.whb", vectors=False)
    saved = (tmp_path / "all.whb").stat().st_size - (tmp_path / "links.whb").stat().st_size
    assert saved > array.nbytes - 200
    for verify in (False, True):
        again = wb.HnswIndex.load(tmp_path / "links.whb", vectors=array, mmap=mmap, verify=verify)
        same(again.search(rows, 5), index.search(rows, 5))
        assert again.stats.borrowed_bytes == array.nbytes + (1200 * 64 if mmap else 0)
        assert again.dumps() == index.dumps()
    with pytest.raises(wb.FormatError, match="pass them"):
        wb.HnswIndex.load(tmp_path / "links.whb", mmap=mmap)
    with pytest.raises(ValueError, match="vectors: expected none"):
        wb.HnswIndex.load(tmp_path / "all.whb", vectors=array, mmap=mmap)
    with pytest.raises(ValueError, match=r"vectors: expected shape \(1200, 16\), got \(600, 16\)"):
        wb.HnswIndex.load(tmp_path / "links.whb", vectors=rows, mmap=mmap)
    with pytest.raises(ValueError, match="vectors: expected those with which"):
        wb.HnswIndex.load(tmp_path / "links.whb", vectors=array[::-1].copy(), mmap=mmap)
    again = wb.HnswIndex.load(tmp_path / "links.whb", vectors=array, mmap=mmap)
    gone = weakref.ref(array)
    del array
    assert gone() is not None
    np.testing.assert_array_equal(again.get_vectors([7]), rows[7:8])


def test_an_index_that_needs_its_vectors_is_saved_with_them(rows, tmp_path):
    half = wb.HnswIndex.build(rows, codec="f16", **OPTIONS)
    with pytest.raises(ValueError, match="vectors: expected float32"):
        half.save(tmp_path / "a", vectors=False)
    index = wb.HnswIndex.build(rows, **OPTIONS)
    with (tmp_path / "b").open("wb") as file, pytest.raises(ValueError, match="file: expected a path"):
        index.save(file, vectors=False)
    index.remove([3])
    with pytest.raises(ValueError, match="no removed rows"):
        index.save(tmp_path / "a", vectors=False)
    assert not (tmp_path / "a").exists()
    index.compact()
    index.save(tmp_path / "a", vectors=False)
    again = wb.HnswIndex.load(tmp_path / "a", vectors=np.delete(rows, 3, axis=0), verify=True)
    same(again.search(rows[:9], 5, ef_search=600), index.search(rows[:9], 5, ef_search=600))
