"""Files that are not whole: every one is a FormatError, never a crash or a wrong index."""

import importlib
import io
import struct
from pathlib import Path

import numpy as np
import pytest
import whimbrel as wb


@pytest.fixture(scope="module")
def saved():
    """A small index with explicit ids and several levels, as bytes."""
    data = np.random.default_rng(0).random((120, 5), dtype=np.float32)
    return wb.HnswIndex.build(data, ids=np.arange(120)[::-1] + 10**12, M=3, ef_construction=20).dumps()


def test_a_whole_file_loads(saved):
    assert wb.HnswIndex.loads(saved).dumps() == saved


def test_any_truncation_is_found(saved):
    for size in range(len(saved)):
        with pytest.raises(wb.FormatError):
            wb.HnswIndex.loads(saved[:size])


def test_bytes_after_the_end_are_found(saved):
    with pytest.raises(wb.FormatError):
        wb.HnswIndex.loads(saved + b"\0")


def test_any_flipped_bit_is_found(saved):
    """Every byte of the file, one bit each."""
    for position in range(len(saved)):
        damaged = bytearray(saved)
        damaged[position] ^= 1 << position % 8
        with pytest.raises(wb.FormatError):
            wb.HnswIndex.loads(damaged)


@pytest.mark.parametrize("word", [0, 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_any_length_in_the_file_is_distrusted(saved, word):
    for position in range(0, 512, 4):
        damaged = bytearray(saved)
        damaged[position : position + 4] = struct.pack("<I", word)
        if damaged == saved:
            continue
        with pytest.raises(wb.FormatError):
            wb.HnswIndex.loads(damaged)


def test_random_bytes_are_not_an_index(saved):
    rng = np.random.default_rng(0)
    for size in (0, 1, 7, 8, 63, 64, 65, 1000):
        with pytest.raises(wb.FormatError):
            wb.HnswIndex.loads(rng.bytes(size))
        with pytest.raises(wb.FormatError):
            wb.HnswIndex.loads(saved[:16] + rng.bytes(size))


def test_another_version_says_so(saved):
    with pytest.raises(wb.FormatError, match="version"):
        wb.HnswIndex.loads(with_version(saved, 2**16 + 1))


def test_another_kind_of_file_says_so(tmp_path):
    path = tmp_path / "vectors.npy"
    np.save(path, np.zeros((100, 100)))
    with pytest.raises(wb.FormatError, match=r"whimbrel"):
        wb.HnswIndex.load(path)


def test_a_truncated_file_says_which(saved, tmp_path):
    path = tmp_path / "half.whb"
    path.write_bytes(saved[: len(saved) // 2])
    with pytest.raises(wb.FormatError):
        wb.HnswIndex.load(path)
    with path.open("rb") as f, pytest.raises(wb.FormatError):
        wb.HnswIndex.load(f)


def test_a_file_object_may_give_less_than_asked(saved):
    class Trickle(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 13))

    assert wb.HnswIndex.load(Trickle(saved)).dumps() == saved


def test_a_failed_load_leaves_other_indexes_alone(saved):
    index = wb.HnswIndex.loads(saved)
    with pytest.raises(wb.FormatError):
        wb.HnswIndex.loads(saved[:-1])
    assert index.dumps() == saved


def with_version(saved, version):
    """The same file as another version would start: magic, byte order, version."""
    return saved[:12] + struct.pack("<I", version) + saved[16:]


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[1] / "data").glob("hnsw_v*.whb")), ids=str)
def test_files_of_every_released_format_version_are_read(path):
    index = wb.HnswIndex.load(path)
    data = np.random.default_rng(0).integers(0, 50, (200, 8)).astype(np.float32)
    assert (len(index), index.dim, index.M, index.ef_search) == (200, 8, 4, 33)
    np.testing.assert_array_equal(index.get_vectors(np.arange(200) * 7 + 3), data)
    found = index.search(data, 5, ef_search=200)
    truth = wb.knn(data, data, 5)
    np.testing.assert_array_equal(found.ids, truth.ids * 7 + 3)
    np.testing.assert_array_equal(found.distances, truth.distances)
    assert index.validate() == (0, 0, 0)


GOLDEN = Path(__file__).parents[1] / "data"


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("links_v*.whb")), ids=lambda path: path.name)
def test_files_without_vectors_of_every_released_format_version_are_read(path, monkeypatch):
    monkeypatch.syspath_prepend(GOLDEN)
    data = importlib.import_module("make_golden").golden_links_vectors()
    index = wb.HnswIndex.load(path, vectors=data, verify=True)
    found, truth = index.search(data, 5, ef_search=100), wb.knn(data, data, 5)
    np.testing.assert_array_equal(found.distances, truth.distances)
    assert index.validate() == (0, 0, 0)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("path", sorted(GOLDEN.glob("multi_vector_v*.whb")), ids=lambda path: path.name)
def test_multi_vector_files_of_every_released_format_version_are_read(path, mmap, monkeypatch):
    monkeypatch.syspath_prepend(GOLDEN)
    golden = importlib.import_module("make_golden")
    index = wb.MultiVectorIndex.load(path, golden.FirstToken(), mmap=mmap)
    sets = golden.golden_sets()
    store = wb.TokenStore(4, "int8")
    store.add(sets)
    assert (len(index), index.dim, index.encoding_dim, index.store) == (19, 4, 4, "int8")
    names, scores = index.search(sets[:3], k=20)
    truth = wb.maxsim_matrix(sets[:3], store)
    truth[:, 2] = -np.inf
    order = np.argsort(-truth, axis=1, kind="stable")
    assert [[int(name.split()[1]) for name in row if name] for row in names] == [
        [int(doc) for doc in row if truth[q, doc] > -np.inf] for q, row in enumerate(order)
    ]
    np.testing.assert_array_equal(scores, np.take_along_axis(truth, order, 1))
