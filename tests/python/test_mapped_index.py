"""Indexes whose vectors stay in the file they were loaded from."""

import ctypes
import mmap
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import whimbrel as wb


@pytest.fixture
def path(index, tmp_path):
    index.save(tmp_path / "a.whb")
    return tmp_path / "a.whb"


def same(found, expected):
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("codec", ["f32", "f16", "sq8"])
@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_a_mapped_index_answers_as_the_saved_one(cube, tmp_path, codec, metric):
    base, queries = cube
    made = wb.HnswIndex.build(base[:1100], metric=metric, M=4, ef_construction=20, codec=codec)
    made.remove([3, 4])
    made.save(tmp_path / "a.whb")
    mapped = wb.HnswIndex.load(tmp_path / "a.whb", mmap=True)
    same(mapped.search(queries, 10), made.search(queries, 10))
    same(mapped.search(queries, 10, exact=True), made.search(queries, 10, exact=True))
    same(mapped.search(queries, 5, filter=range(50)), made.search(queries, 5, filter=range(50)))
    same(mapped.range_search(queries, 0.3), made.range_search(queries, 0.3))
    same(mapped.knn_graph(3), made.knn_graph(3))
    same(next(mapped.search_iterator(queries[0], 7)), next(made.search_iterator(queries[0], 7)))
    np.testing.assert_array_equal(mapped.get_vectors([0, 9]), made.get_vectors([0, 9]))
    assert mapped.tune(queries, 0.5, 3) == made.tune(queries, 0.5, 3)
    assert mapped.dumps() == made.dumps()
    assert repr(mapped) == repr(made)


def test_rows_that_are_not_coordinates_in_the_callers_order_stay_in_the_file_too(tmp_path):
    rng = np.random.default_rng(0)
    data = (rng.random((600, 128)) * np.linspace(0, 1, 128) ** 4).astype(np.float32)
    made = wb.HnswIndex.build(data, M=4, ef_construction=20)
    made.save(tmp_path / "a.whb")
    mapped = wb.HnswIndex.load(tmp_path / "a.whb", mmap=True)
    same(mapped.search(data, 5), made.search(data, 5))
    np.testing.assert_array_equal(mapped.get_vectors([7]), data[7:8])


def test_an_empty_index_can_be_mapped(tmp_path):
    wb.HnswIndex(5).save(tmp_path / "a.whb")
    mapped = wb.HnswIndex.load(tmp_path / "a.whb", mmap=True, verify=True)
    assert len(mapped) == 0
    assert mapped.search(np.zeros(5), 1).ids[0] == -1


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[1] / "data").glob("[bch]*_v*.whb")), ids=lambda path: path.name
)
def test_files_of_every_released_format_version_are_mapped(path):
    assert wb.HnswIndex.load(path, mmap=True, verify=True).dumps() == path.read_bytes()


def test_a_mapped_index_takes_no_changes(path, cube):
    mapped = wb.HnswIndex.load(path, mmap=True)
    before = mapped.search(cube[1], 5)
    for change in (
        lambda: mapped.add(cube[0][:1], ids=[1]),
        lambda: mapped.remove([5]),
        lambda: mapped.update([5], cube[0][:1]),
        lambda: mapped.compact(),
        lambda: mapped.refine(),
    ):
        with pytest.raises(ValueError, match="index: expected one in memory, got one mapped from a file"):
            change()
    mapped.ef_search = 99
    assert mapped.ef_search == 99
    mapped.ef_search = 64
    same(mapped.search(cube[1], 5), before)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows replaces no file that is mapped")
def test_saving_over_a_mapped_file_leaves_it_to_whoever_has_it(path, cube):
    mapped, old = wb.HnswIndex.load(path, mmap=True), path.read_bytes()
    before = mapped.search(cube[1], 5)
    wb.HnswIndex.build(cube[0][:5]).save(path)
    same(mapped.search(cube[1], 5), before)
    mapped.save(path)
    assert path.read_bytes() == old
    copy = wb.HnswIndex.loads(mapped.dumps())
    copy.remove([5])
    same(mapped.search(cube[1], 5), before)


def test_memory_tells_what_is_in_the_file_apart(path, index):
    mapped = wb.HnswIndex.load(path, mmap=True)
    assert mapped.stats.borrowed_bytes == 2000 * 16 * 4
    assert mapped.memory_usage() == index.memory_usage() - 2000 * 16 * 4
    assert index.stats.borrowed_bytes == 0


@pytest.mark.parametrize("verify", [False, True])
def test_files_that_are_not_whole_are_refused(path, tmp_path, verify):
    whole = path.read_bytes()
    for data in [*(whole[: i * len(whole) // 50] for i in range(50)), whole[:-1], whole + b"\0" * 64]:
        (tmp_path / "b").write_bytes(data)
        with pytest.raises(wb.FormatError, match=r"^file: "):
            wb.HnswIndex.load(tmp_path / "b", mmap=True, verify=verify)


def test_damaged_vectors_are_found_by_whoever_asks(path, cube):
    whole = path.read_bytes()
    at = whole.index(cube[0][5].tobytes())
    path.write_bytes(whole[:at] + b"\xff" * 64 + whole[at + 64 :])
    with pytest.raises(wb.FormatError, match="checksum"):
        wb.HnswIndex.load(path, mmap=True, verify=True)
    damaged = wb.HnswIndex.load(path, mmap=True)
    found = damaged.search(cube[1], 2000, ef_search=2000)
    assert not np.isnan(found.distances).any()
    with pytest.raises(wb.FormatError, match="checksum"):
        damaged.dumps()


def test_only_paths_are_mapped(path, tmp_path):
    with path.open("rb") as file, pytest.raises(ValueError, match="file: expected a path"):
        wb.HnswIndex.load(file, mmap=True)
    with pytest.raises(FileNotFoundError):
        wb.HnswIndex.load(tmp_path / "none", mmap=True)
    assert len(wb.HnswIndex.load(str(path), mmap=True)) == 2000


def resident_share(path):
    """Share of a file's pages that the system has in memory."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    size = path.stat().st_size
    marks = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
    with path.open("rb") as file:
        address = libc.mmap(None, ctypes.c_size_t(size), 1, 1, file.fileno(), ctypes.c_long(0))
    known = libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), marks) == 0
    libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(size))
    return sum(mark & 1 for mark in marks) / len(marks) if known else None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux which pages are in memory")
def test_loading_reads_a_small_share_of_the_file(tmp_path):
    path = tmp_path / "a.whb"
    data = np.random.default_rng(0).random((1500, 1024), dtype=np.float32)
    wb.HnswIndex.build(data, M=4, ef_construction=10, codec="sq8").save(path)
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if resident_share(path) != 0:
        pytest.skip("this file system keeps its pages")
    mapped = wb.HnswIndex.load(path, mmap=True)
    assert 0 < resident_share(path) < 0.1
    assert mapped.memory_usage() < 0.03 * path.stat().st_size
    mapped.search(data[:3], 1)
    assert resident_share(path) < 0.9
