"""MultiVectorIndex against exact MaxSim, and everything it must refuse."""

import json
import struct
import threading

import numpy as np
import pytest
import whimbrel as wb

DIM = 16


class MeanEncoder:
    """The mean of a document's tokens, and the sum of a query's: the plainest candidate encoder."""

    def __init__(self, fingerprint="mean"):
        self.fingerprint = fingerprint
        self.largest_batch = 0

    def encode_documents(self, sets):
        return self.add_up(sets) / np.maximum(np.diff(sets.offsets), 1)[:, None]

    def encode_queries(self, sets):
        return self.add_up(sets)

    def add_up(self, sets):
        n = len(sets.offsets) - 1
        self.largest_batch = max(self.largest_batch, n)
        sums = np.zeros((n, sets.tokens.shape[1]))
        np.add.at(sums, np.repeat(np.arange(n), np.diff(sets.offsets)), sets.tokens)
        return sums


def make_topics(n, seed, spread=0.5, high=12):
    """Sets whose tokens scatter around a topic of their own, so that means tell good candidates."""
    rng = np.random.default_rng(seed)
    topics = np.random.default_rng(99).standard_normal((40, DIM))
    sets = []
    for i in range(n):
        tokens = topics[i % 40] + spread * rng.standard_normal((rng.integers(1, high), DIM))
        sets.append((tokens / np.linalg.norm(tokens, axis=1, keepdims=True)).astype(np.float32))
    return sets


DOCS = make_topics(800, 1)
QUERIES = make_topics(30, 2)


def build(docs=DOCS, ids=None, **options):
    index = wb.MultiVectorIndex(
        DIM, MeanEncoder(), **{"store": "f32", "M": 8, "ef_construction": 60, **options}
    )
    index.add(docs, ids)
    return index


def as_flat(sets):
    return np.concatenate(sets), np.cumsum([0, *map(len, sets)])


def as_padded(sets):
    padded = np.full((len(sets), max(map(len, sets)), DIM), np.nan)
    mask = np.zeros(padded.shape[:2], bool)
    for i, tokens in enumerate(sets):
        padded[i, : len(tokens)], mask[i, : len(tokens)] = tokens, True
    return padded, mask


def as_tensors(sets):
    torch = pytest.importorskip("torch")
    return [torch.from_numpy(tokens) for tokens in sets]


class Exported:
    """What knows DLPack and nothing else."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


FORMS = [
    (as_flat, "flat"),
    (as_padded, "padded"),
    (as_tensors, "torch"),
    (lambda sets: [Exported(tokens) for tokens in sets], "dlpack"),
    (lambda sets: [np.asfortranarray(tokens.astype(np.float64)) for tokens in sets], "float64, by columns"),
]


@pytest.fixture(scope="module")
def index():
    return build()


def best(queries, docs, k, allowed=None):
    """The definition: sort by (score, number)."""
    scores = wb.maxsim_matrix(queries, docs)
    if allowed is not None:
        scores[:, ~allowed] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(scores, order, 1)
    return np.where(np.isneginf(found), -1, order), found


@pytest.mark.parametrize("store", ["f32", "f16", "int8"])
def test_with_all_documents_as_candidates_it_is_exact(store):
    index = build(store=store)
    tokens = wb.TokenStore(DIM, store)
    tokens.add(DOCS)
    ids, scores = index.search(QUERIES, k=20, candidates=800)
    true_ids, true_scores = best(QUERIES, [tokens[i] for i in range(800)], 20)
    np.testing.assert_array_equal(ids, true_ids)
    np.testing.assert_array_equal(scores, true_scores)


def test_candidates_of_the_graph_find_most_of_the_best(index):
    ids, scores = index.search(QUERIES, k=10, candidates=100, ef_search=200)
    true_ids, _ = best(QUERIES, DOCS, 10)
    assert np.mean([len(np.intersect1d(a, b)) for a, b in zip(ids, true_ids, strict=True)]) / 10 > 0.9
    expected = np.take_along_axis(wb.maxsim_matrix(QUERIES, DOCS), ids, 1)
    np.testing.assert_array_equal(scores, expected)
    assert np.all(np.diff(scores, axis=1) <= 0)


def test_a_single_query_has_no_first_axis(index):
    ids, scores = index.search(QUERIES[0], k=5)
    assert ids.shape == scores.shape == (5,)
    np.testing.assert_array_equal(ids, index.search(QUERIES[:1], k=5).ids[0])


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_change_nothing(threads):
    one, many = build(), build()
    expected = one.search(QUERIES, k=10, candidates=50, threads=1)
    found = many.search(QUERIES, k=10, candidates=50, threads=threads)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_more_results_than_documents_are_missing():
    index = build(DOCS[:5])
    ids, scores = index.search(QUERIES[:2], k=8)
    assert np.all(np.sort(ids[:, :5], axis=1) == np.arange(5))
    assert np.all(ids[:, 5:] == -1)
    assert np.all(np.isneginf(scores[:, 5:]))
    empty = wb.MultiVectorIndex(DIM, MeanEncoder())
    assert empty.search(QUERIES[0], k=2).ids.tolist() == [-1, -1]
    assert len(empty) == 0


def test_empty_documents_are_never_returned_and_empty_queries_find_nothing():
    index = build([np.zeros((0, DIM)), DOCS[0], np.zeros((0, DIM))])
    assert index.search([DOCS[0], np.zeros((0, DIM))], k=3).ids.tolist() == [[1, -1, -1], [-1, -1, -1]]


@pytest.mark.parametrize(
    "ids", [[f"doc {i}" for i in range(800)], np.arange(800)[::-1] * 7 + 3], ids=["str", "int"]
)
def test_ids_are_the_callers(ids, index):
    named = build(ids=ids)
    found, scores = named.search(QUERIES, k=6)
    plain = index.search(QUERIES, k=6)
    np.testing.assert_array_equal(found, np.array(ids)[plain.ids])
    np.testing.assert_array_equal(scores, plain.scores)
    assert ids[17] in named
    assert "no such" not in named
    missing = "none" if isinstance(ids, list) else -1
    few = build(DOCS[:2], ids[:2]).search(QUERIES[0], k=3).ids
    assert few[2] == (None if missing == "none" else -1)


def test_batches_give_what_they_give_one_by_one():
    one, many = build([]), build([])
    for start in range(0, 800, 100):
        one.add(DOCS[start : start + 100])
    added = many.add_batches(DOCS[start : start + 100] for start in range(0, 800, 100))
    assert added == len(one) == len(many) == 800
    assert many.encoder.largest_batch == 100
    for got, expected in zip(many.search(QUERIES), one.search(QUERIES), strict=True):
        np.testing.assert_array_equal(got, expected)
    named = build([])
    assert named.add_batches([(DOCS[:3], ["a", "b", "c"]), (DOCS[3:5], ["d", "e"])]) == 5
    assert named.search(DOCS[3], k=1).ids[0] == "d"


def test_batches_come_in_every_form():
    solid = np.stack([DOCS[0][:1], DOCS[1][:1]])
    named, plain = build([]), build([])
    named.add_batches(
        [(as_flat(DOCS[:3]), ["a", "b", "c"]), (as_padded(DOCS[3:5]), ["d", "e"]), (solid, ["f", "g"])]
    )
    plain.add_batches([as_flat(DOCS[:3]), as_padded(DOCS[3:5]), solid])
    names, scores = named.search(QUERIES, k=7)
    rows, same = plain.search(QUERIES, k=7)
    np.testing.assert_array_equal(names, np.array(list("abcdefg"), object)[rows])
    np.testing.assert_array_equal(scores, same)


def test_removed_documents_never_return_and_k_others_do():
    index = build()
    before, _ = index.search(QUERIES, k=10, candidates=20)
    gone = np.unique(before)
    index.remove(gone)
    assert len(index) == 800 - len(gone)
    assert gone[0] not in index
    ids, _ = index.search(QUERIES, k=10, candidates=20)
    assert not np.isin(ids, gone).any()
    assert np.all(ids >= 0)
    index.remove(np.setdiff1d(np.arange(790), gone))
    ids, scores = index.search(QUERIES, k=12, candidates=20)
    alive = np.zeros(800, bool)
    alive[790:] = True
    alive[gone] = False
    true_ids, true_scores = best(QUERIES, DOCS, 12, alive)
    np.testing.assert_array_equal(ids, true_ids)
    np.testing.assert_array_equal(scores, true_scores)


def test_ids_that_a_search_returned_can_be_removed_as_they_are():
    for names in (None, ["a", "b", "c"], [7, 8, 9]):
        index = build(DOCS[:3], names)
        found = index.search(DOCS[1], k=3).ids
        index.remove(found[0])
        index.remove([found[1]])
        assert len(index) == 1
        assert index.search(DOCS[1], k=2).ids.tolist()[0] == found[2]


def test_the_id_of_a_removed_document_can_be_used_again():
    index = build(DOCS[:3], ["a", "b", "c"])
    index.remove("b")
    assert "b" not in index
    index.add(DOCS[3:4], ["b"])
    assert index.search(DOCS[3], k=1).ids[0] == "b"
    assert index.search(DOCS[1], k=4).ids.tolist().count("b") == 1
    assert len(index) == 3


@pytest.mark.parametrize("n_allowed", [0, 1, 7, 60, 700])
def test_filters_are_exact_about_what_may_return(n_allowed, index):
    allowed = np.zeros(800, bool)
    allowed[np.random.default_rng(n_allowed).permutation(800)[:n_allowed]] = True
    by_mask = index.search(QUERIES, k=10, candidates=40, filter=allowed)
    by_ids = index.search(QUERIES, k=10, candidates=40, filter=np.flatnonzero(allowed))
    np.testing.assert_array_equal(by_mask.ids, by_ids.ids)
    assert np.all(allowed[by_mask.ids[by_mask.ids >= 0]])
    assert np.all((by_mask.ids >= 0).sum(axis=1) == min(10, n_allowed))
    if n_allowed <= 60:
        np.testing.assert_array_equal(by_mask.ids, best(QUERIES, DOCS, 10, allowed)[0])


def test_filters_of_strings_ignore_unknown_ids():
    named = build(DOCS[:50], [f"d{i}" for i in range(50)])
    assert set(named.search(DOCS[7], k=3, filter={"d7", "d9", "nobody"}).ids) == {"d7", "d9", None}
    assert named.search(DOCS[7], k=1, filter=[]).ids[0] is None


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("store", ["f32", "f16", "int8"])
@pytest.mark.parametrize("ids", [None, "str", "int"])
def test_a_loaded_index_is_the_saved_one(tmp_path, store, mmap, ids):
    docs = [*DOCS[:200], np.zeros((0, DIM), np.float32)]
    names = {None: None, "str": [f"ü{i}" for i in range(201)], "int": list(range(1000, 1201))}[ids]
    index = build(docs, names, store=store)
    gone = 5 if names is None else names[5]
    index.remove([gone])
    index.save(tmp_path / "a.whb")
    loaded = wb.MultiVectorIndex.load(tmp_path / "a.whb", MeanEncoder(), mmap=mmap)
    for k, candidates in ((5, 20), (210, 300)):
        for got, expected in zip(
            loaded.search(QUERIES, k, candidates), index.search(QUERIES, k, candidates), strict=True
        ):
            np.testing.assert_array_equal(got, expected)
    assert repr(loaded) == repr(index)
    assert (len(loaded), loaded.store, loaded.dim, loaded.encoding_dim) == (200, store, DIM, DIM)
    assert gone not in loaded
    loaded.save(tmp_path / "b.whb")
    assert (tmp_path / "a.whb").read_bytes() == (tmp_path / "b.whb").read_bytes()
    more = None if names is None else [names[5]]
    if mmap:
        with pytest.raises(ValueError, match="docs: expected a store in memory, got one mapped"):
            loaded.add(DOCS[5:6], more)
        assert loaded.memory_usage() < index.memory_usage()
    else:
        loaded.add(DOCS[5:6], more)
        assert len(loaded) == 201
    assert len(wb.MultiVectorIndex.load(tmp_path / "a.whb", MeanEncoder())) == 200


def test_an_empty_index_can_be_saved(tmp_path):
    index = wb.MultiVectorIndex(DIM, MeanEncoder(), store="int8")
    index.save(tmp_path / "a")
    for mmap in (False, True):
        assert len(wb.MultiVectorIndex.load(tmp_path / "a", MeanEncoder(), mmap=mmap)) == 0


def test_another_encoder_is_refused(tmp_path):
    build(DOCS[:10]).save(tmp_path / "a")
    with pytest.raises(ValueError, match="encoder: expected 'mean', got 'median'"):
        wb.MultiVectorIndex.load(tmp_path / "a", MeanEncoder("median"))


@pytest.mark.parametrize("mmap", [False, True])
def test_damaged_files_are_refused(tmp_path, mmap):
    build(DOCS[:12], [f"d{i}" for i in range(12)], M=4, store="f16").save(tmp_path / "a")
    good = (tmp_path / "a").read_bytes()
    rng = np.random.default_rng(0)
    versions = [good[:n] for n in (0, 1, 63, 64, len(good) // 2, len(good) - 1)] + [good + b"\0"]
    for at in rng.integers(0, len(good), 150):
        versions.append(good[:at] + bytes([good[at] ^ 1 << int(rng.integers(8))]) + good[at + 1 :])
    for data in versions:
        (tmp_path / "b").write_bytes(data)
        with pytest.raises(wb.FormatError, match=r"^file: expected|^file: "):
            wb.MultiVectorIndex.load(tmp_path / "b", MeanEncoder(), mmap=mmap)
    wb.HnswIndex.build(np.eye(3)).save(tmp_path / "b")
    with pytest.raises(wb.FormatError, match="kind MVEC, got HNSW"):
        wb.MultiVectorIndex.load(tmp_path / "b", MeanEncoder(), mmap=mmap)
    with pytest.raises(FileNotFoundError):
        wb.MultiVectorIndex.load(tmp_path / "none", MeanEncoder(), mmap=mmap)


@pytest.mark.parametrize(
    "change",
    [
        {"ids": ["a"]},
        {"ids": [1, "b", "c"]},
        {"candidates": "many"},
        {"ef_search": -1},
        {"ids": 7},
    ],
)
def test_metadata_that_do_not_fit_are_refused(tmp_path, change, monkeypatch):
    index = build(DOCS[:3], ["a", "b", "c"])
    plain = json.dumps
    monkeypatch.setattr(json, "dumps", lambda facts, **options: plain({**facts, **change}, **options))
    index.save(tmp_path / "a")
    with pytest.raises(wb.FormatError, match="file: expected metadata of an index"):
        wb.MultiVectorIndex.load(tmp_path / "a", MeanEncoder())


def test_tuning_reaches_the_recall_it_promises():
    index = build()
    true_ids, _ = best(QUERIES, DOCS, 10)
    for recall in (0.5, 0.9, 1.0):
        tuned = index.tune(QUERIES, recall)
        assert (index.candidates, index.ef_search) == tuned[:2]
        found = index.search(QUERIES, k=10).ids
        share = np.mean([len(np.intersect1d(a, b)) for a, b in zip(found, true_ids, strict=True)]) / 10
        assert share == pytest.approx(tuned.recall)
        assert share >= recall
    assert index.tune(QUERIES, 0.5).candidates < index.tune(QUERIES, 1.0).candidates
    for recall in (0, 1.1, float("nan")):
        with pytest.raises(ValueError, match="recall: expected"):
            index.tune(QUERIES, recall)
    with pytest.raises(ValueError, match="queries: expected some"):
        index.tune([], 0.9)
    with pytest.raises(ValueError, match="queries: expected some, and documents"):
        wb.MultiVectorIndex(DIM, MeanEncoder()).tune(QUERIES)


@pytest.mark.parametrize(
    ("docs", "ids", "error", "message"),
    [
        (DOCS[:2], ["x", "x"], ValueError, "ids: expected new ids, got 'x' twice"),
        (DOCS[:2], ["x", "a"], ValueError, "ids: expected new ids, got 'a' twice"),
        (DOCS[:2], ["x"], ValueError, "ids: expected 2, one per document, got 1"),
        (DOCS[:2], ["x", 4], TypeError, "ids: expected strings only, got int"),
        (DOCS[:2], [3, 4], TypeError, "ids: expected strings only, got int"),
        (DOCS[:2], None, ValueError, "ids: expected 2 ids for an index that has its own, got None"),
        ([np.ones((2, 5))], ["x"], ValueError, r"docs\[0\]: expected shape \(t, 16\), got \(2, 5\)"),
        ([np.full((2, DIM), np.nan)], ["x"], ValueError, "docs: expected finite values"),
        (
            (np.ones((4, DIM)), [0, 3, 2, 4]),
            ["x", "y", "z"],
            ValueError,
            "docs: expected offsets that never fall",
        ),
        ([np.full((1, DIM), 1e5)], ["x"], ValueError, "docs: expected magnitudes up to 65504"),
        (np.ones((3, DIM)), ["x", "y", "z"], ValueError, "docs: expected sets"),
    ],
)
def test_a_refused_addition_changes_nothing(tmp_path, docs, ids, error, message):
    index = build(DOCS[:3], ["a", "b", "c"], store="f16")
    index.save(tmp_path / "before")
    with pytest.raises(error, match=message):
        index.add(docs, ids)
    index.save(tmp_path / "after")
    assert (tmp_path / "before").read_bytes() == (tmp_path / "after").read_bytes()


@pytest.mark.parametrize("ids", [[-1], [2**63], [1.5], [True], [None]])
def test_ids_are_strings_or_integers(ids):
    index = wb.MultiVectorIndex(DIM, MeanEncoder())
    with pytest.raises((ValueError, TypeError), match="ids: expected"):
        index.add(DOCS[:1], ids)
    numbered = build(DOCS[:2])
    with pytest.raises(ValueError, match="ids: expected None for an index that numbers its documents"):
        numbered.add(DOCS[:1], [5])


def test_removing_what_is_not_there_changes_nothing():
    named, numbered = build(DOCS[:3], ["a", "b", "c"]), build(DOCS[:3])
    for index, ids in (
        (named, ["a", "x"]),
        (named, [0]),
        (numbered, [0, 3]),
        (numbered, [-1]),
        (numbered, ["a"]),
    ):
        with pytest.raises(KeyError, match="ids: expected ids of the index"):
            index.remove(ids)
        assert len(index) == 3
    for index, id in ((named, "a"), (numbered, 1)):
        index.remove(id)
        with pytest.raises(KeyError, match="ids: expected ids of the index"):
            index.remove(id)
        assert len(index) == 2


def test_wrong_searches_are_named(index):
    for call, message in (
        (lambda: index.search(np.ones((2, 5))), r"queries\[0\]: expected shape \(t, 16\), got \(2, 5\)"),
        (lambda: index.search([np.full((1, DIM), np.inf)]), "queries: expected finite values"),
        (lambda: index.search((np.ones((2, DIM)), [1, 2])), "queries: expected offsets that start at 0"),
        (lambda: index.search(QUERIES, k=0), "k: expected 1"),
        (lambda: index.search(QUERIES, candidates=0), "candidates: expected 1"),
        (lambda: index.search(QUERIES, ef_search=-1), "ef_search: expected 0"),
        (lambda: index.search(QUERIES, filter=np.ones(5, bool)), r"filter: expected shape \(800,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="filter: expected integers"):
        index.search(QUERIES, filter=[0.5])


class Wrong(MeanEncoder):
    def __init__(self, change):
        super().__init__()
        self.change = change

    def encode_queries(self, sets):
        return self.change(self.add_up(sets))

    def encode_documents(self, sets):
        return self.change(self.add_up(sets)) if len(sets.offsets) > 1 else self.add_up(sets)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-1], "encodings: expected one per set"),
        (lambda rows: rows[:, :-1], r"encodings: expected shape \(n, 16\)"),
        (lambda rows: rows * np.float32(np.nan), "encodings: expected finite values"),
    ],
)
def test_encoders_that_do_not_keep_the_protocol_are_found(change, message):
    index = wb.MultiVectorIndex(DIM, Wrong(change))
    with pytest.raises(ValueError, match=message):
        index.add(DOCS[:4])
    with pytest.raises(ValueError, match=message):
        index.search(QUERIES)
    assert len(index) == 0


def test_searches_run_beside_additions():
    index = build(DOCS[:100])
    errors = []

    def search():
        try:
            for _ in range(20):
                ids, scores = index.search(QUERIES, k=3)
                assert np.all(ids >= 0)
                assert np.all(np.diff(scores, axis=1) <= 0)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for start in range(100, 800, 100):
        index.add(DOCS[start : start + 100])
        index.remove([start - 100])
    for thread in threads:
        thread.join()
    assert not errors
    assert len(index) == 800 - 7


def test_the_file_has_the_sections_of_the_format(tmp_path):
    build(DOCS[:5], store="int8").save(tmp_path / "a")
    data = (tmp_path / "a").read_bytes()
    n_sections = struct.unpack_from("<I", data, 20)[0]
    tags = [data[64 + 32 * i :][:4] for i in range(n_sections)]
    assert data[16:20] == b"MVEC"
    assert tags == [b"PARM", b"META", b"GONE", b"OFFS", b"TOKS", b"SCAL", b"HNSW"]


def fde_encoder(seed=0):
    return wb.FdeEncoder(DIM, k_sim=3, r_reps=10, d_proj=8, seed=seed)


def test_fixed_dimensional_encodings_find_nearly_all(tmp_path):
    index = wb.MultiVectorIndex(DIM, fde_encoder(), store="f32")
    index.add(DOCS)
    assert index.encoding_dim == fde_encoder().dim_out == 640
    true_ids, _ = best(QUERIES, DOCS, 10)
    for candidates, floor in ((40, 0.85), (150, 0.98)):
        found = index.search(QUERIES, 10, candidates).ids
        recall = np.mean([len(np.intersect1d(a, b)) for a, b in zip(found, true_ids, strict=True)]) / 10
        assert recall >= floor
    index.save(tmp_path / "a")
    loaded = wb.MultiVectorIndex.load(tmp_path / "a", fde_encoder(), mmap=True)
    np.testing.assert_array_equal(loaded.search(QUERIES).ids, index.search(QUERIES).ids)
    with pytest.raises(ValueError, match=r"encoder: expected '.*; seed 0;.*', got '.*; seed 1;.*'"):
        wb.MultiVectorIndex.load(tmp_path / "a", fde_encoder(seed=1))


@pytest.mark.parametrize("as_sets", [forms[0] for forms in FORMS], ids=[forms[1] for forms in FORMS])
def test_documents_and_queries_come_in_every_form(as_sets):
    sets = [*DOCS[:30], np.zeros((0, DIM), np.float32)]
    index = wb.MultiVectorIndex(DIM, fde_encoder(), store="f32")
    index.add(as_sets(sets))
    plain = wb.MultiVectorIndex(DIM, fde_encoder(), store="f32")
    plain.add(sets)
    for got, expected in zip(index.search(as_sets(QUERIES), 5), plain.search(QUERIES, 5), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_a_document_may_be_one_token_or_thousands():
    long = np.concatenate([*DOCS, *DOCS[:100]])
    assert len(long) > 5000
    index = wb.MultiVectorIndex(DIM, fde_encoder(), store="f32")
    index.add([long, DOCS[0][:1], np.zeros((1, DIM), np.float32)])
    ids, scores = index.search([long[:3000], np.zeros((2, DIM), np.float32)], k=3)
    assert ids.tolist() == [[0, 1, 2], [0, 1, 2]]
    np.testing.assert_allclose(scores[0, 0], 3000, rtol=1e-5)
    np.testing.assert_array_equal(scores[1], 0)


def test_carved_queries_rank_the_same_candidates(index):
    carved = wb.ball_carving(QUERIES, 0.6)
    assert carved.offsets[-1] < sum(map(len, QUERIES))
    ids, scores = index.search(QUERIES, 10, 800, carve=0.6)
    true_ids, true_scores = best(carved, DOCS, 10)
    np.testing.assert_array_equal(ids, true_ids)
    np.testing.assert_array_equal(scores, true_scores)
    plain = index.search(QUERIES, 800, 30)
    for got, expected in zip(index.search(QUERIES, 800, 30, carve=1.1), plain, strict=True):
        np.testing.assert_array_equal(got, expected)
    with pytest.raises(ValueError, match="threshold: expected a number, got NaN"):
        index.search(QUERIES, carve=float("nan"))


def test_progress_counts_documents_and_can_cancel(tmp_path):
    reports = []
    index = build([])
    index.add(DOCS, progress=lambda done, total: reports.append((done, total)))
    assert reports[-1] == (800, 800)
    index.save(tmp_path / "before")
    with pytest.raises(wb.CancelledError):
        index.add(DOCS, progress=lambda done, total: False)
    with pytest.raises(RuntimeError, match="index: expected no call from the progress function"):
        index.add(DOCS, progress=lambda done, total: len(index))
    index.save(tmp_path / "after")
    assert (tmp_path / "before").read_bytes() == (tmp_path / "after").read_bytes()
