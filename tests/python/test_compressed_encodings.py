"""MultiVectorIndex with encodings as codes of a product quantizer."""

import numpy as np
import pytest
import whimbrel as wb

DIM, N = 16, 900


def topic_sets(n, seed):
    """Sets of unit tokens around a topic of their own."""
    rng = np.random.default_rng(seed)
    topics = np.random.default_rng(99).standard_normal((40, DIM))
    sets = []
    for i in range(n):
        tokens = topics[i % 40] + 0.5 * rng.standard_normal((rng.integers(1, 12), DIM))
        sets.append((tokens / np.linalg.norm(tokens, axis=1, keepdims=True)).astype(np.float32))
    return sets


DOCS, QUERIES = topic_sets(N, 1), topic_sets(30, 2)


def encoder(dim_out=None):
    return wb.FdeEncoder(DIM, k_sim=3, r_reps=10, d_proj=8, d_final=dim_out)


def build(docs=DOCS, dim_out=None):
    index = wb.MultiVectorIndex(DIM, encoder(dim_out), store="f32", M=8, ef_construction=60)
    index.add(docs)
    return index


@pytest.fixture(scope="module")
def plain():
    return build()


@pytest.fixture(scope="module")
def compressed():
    index = build()
    index.compress()
    return index


def exact(k):
    scores = wb.maxsim_matrix(QUERIES, DOCS)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(scores, order, 1)


def recall(index, candidates):
    found = index.search(QUERIES, 10, candidates).ids
    return np.mean([len(np.intersect1d(a, b)) for a, b in zip(found, exact(10)[0], strict=True)]) / 10


def test_codes_find_nearly_what_the_encodings_find(plain, compressed):
    assert compressed.compressed
    assert not plain.compressed
    for candidates in (40, 150):
        assert recall(compressed, candidates) >= recall(plain, candidates) - 0.05
    ids, scores = compressed.search(QUERIES, 12, N)
    np.testing.assert_array_equal(ids, exact(12)[0])
    np.testing.assert_array_equal(scores, exact(12)[1])


def test_codes_take_a_byte_for_eight_coordinates(plain, compressed):
    codebook = 640 * 256 * 4
    saved = N * 640 * 4 - (N * 640 // 8 + codebook)
    assert plain.memory_usage() - compressed.memory_usage() == saved


def test_fewer_documents_than_centroids_are_found_as_before():
    """Every encoding is a centroid then, and the codes lose nothing."""
    small, small_compressed = build(DOCS[:200]), build(DOCS[:200])
    small_compressed.compress()
    got = small_compressed.search(QUERIES, 5, 20, ef_search=200)
    for a, b in zip(got, small.search(QUERIES, 5, 20, ef_search=200), strict=True):
        np.testing.assert_array_equal(a, b)


def test_encodings_need_not_fill_the_last_group():
    index = build(DOCS[:300], dim_out=101)
    before = index.search(QUERIES, 5, 150).ids
    index.compress()
    found = index.search(QUERIES, 5, 150).ids
    assert np.mean(found == before) > 0.9


@pytest.mark.parametrize("mmap", [False, True])
def test_a_loaded_index_is_the_saved_one(compressed, tmp_path, mmap):
    compressed.save(tmp_path / "a")
    loaded = wb.MultiVectorIndex.load(tmp_path / "a", encoder(), mmap=mmap)
    assert loaded.compressed
    for a, b in zip(loaded.search(QUERIES, 10, 50), compressed.search(QUERIES, 10, 50), strict=True):
        np.testing.assert_array_equal(a, b)
    loaded.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("mmap", [False, True])
def test_damaged_files_are_refused(tmp_path, mmap):
    index = build(DOCS[:20])
    index.compress()
    index.save(tmp_path / "a")
    good = (tmp_path / "a").read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(good), 60):
        (tmp_path / "b").write_bytes(good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :])
        with pytest.raises(wb.FormatError, match=r"^file: "):
            wb.MultiVectorIndex.load(tmp_path / "b", encoder(), mmap=mmap)
    # Its graph alone is no index: the last section is a file of its own, of which the vectors are missing.
    graph = good[good.rindex(b"WHIMBREL") :]
    with pytest.raises(wb.FormatError, match="file: expected an index with its vectors"):
        wb.HnswIndex.loads(graph)


def test_threads_change_no_byte(compressed, tmp_path):
    compressed.save(tmp_path / "a")
    for threads in (1, 3):
        other = build()
        other.compress(threads=threads)
        other.save(tmp_path / "b")
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_filters_and_removal_work_on_codes():
    index = build()
    index.compress()
    allowed = np.arange(N) % 5 != 0
    index.remove(np.arange(0, 500, 2))
    ids, _ = index.search(QUERIES, 10, 60, filter=allowed)
    assert np.all(ids >= 0)
    assert np.all(ids % 5 != 0)
    assert not np.any((ids < 500) & (ids % 2 == 0))


def test_it_is_done_once_and_last(compressed):
    with pytest.raises(ValueError, match="docs: expected an index whose encodings are not compressed"):
        compressed.add(DOCS[:1])
    assert len(compressed) == N
    with pytest.raises(ValueError, match="index: expected encodings that are not compressed yet"):
        compressed.compress()
    with pytest.raises(ValueError, match="index: expected documents, got none"):
        wb.MultiVectorIndex(DIM, encoder()).compress()
    index = build(DOCS[:50])
    with pytest.raises(wb.CancelledError):
        index.compress(progress=lambda done, total: False)
    assert not index.compressed
    index.add(DOCS[:5])


def test_tuning_takes_the_codes_into_account(compressed):
    tuned = compressed.tune(QUERIES, 0.9)
    assert recall(compressed, tuned.candidates) >= 0.9
