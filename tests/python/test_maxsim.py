"""MaxSim against the float64 reference, and what must not change a bit of it."""

import numpy as np
import pytest
import reference
import whimbrel as wb
from hypothesis import given, settings
from hypothesis import strategies as st


def make_sets(lengths, dim, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((t, dim)).astype(dtype) for t in lengths]


def random_lengths(n, high, seed=0):
    return np.random.default_rng(seed).integers(0, high + 1, n)


def assert_scores_agree(found, true):
    assert found.dtype == np.float32
    np.testing.assert_array_equal(np.isneginf(found), np.isneginf(true))
    finite = np.isfinite(true)
    scale = np.abs(true[finite]).max() if finite.any() else 1
    np.testing.assert_allclose(found[finite], true[finite], rtol=2e-6, atol=2e-6 * scale)


@pytest.mark.parametrize("dim", [1, 3, 16, 31, 32, 33, 100, 128, 257, 600])
def test_scores_agree_with_the_reference(dim):
    queries, docs = make_sets(random_lengths(9, 40), dim, 1), make_sets(random_lengths(60, 50, 2), dim, 2)
    assert_scores_agree(wb.maxsim_matrix(queries, docs), reference.maxsim(queries, docs))


@settings(max_examples=60)
@given(
    query_lengths=st.lists(st.integers(0, 60), max_size=6),
    doc_lengths=st.lists(st.sampled_from([0, 1, 2, 7, 8, 9, 63, 127, 128, 129, 300]), max_size=12),
    dim=st.sampled_from([1, 2, 31, 32, 33]),
    normalize=st.booleans(),
)
def test_small_integers_are_exact(query_lengths, doc_lengths, dim, normalize):
    rng = np.random.default_rng(len(query_lengths) * 100 + len(doc_lengths))
    queries = [rng.integers(-2, 3, (t, dim)) for t in query_lengths] or np.zeros((0, 1, dim))
    docs = [rng.integers(-2, 3, (t, dim)) for t in doc_lengths] or np.zeros((0, 1, dim))
    found = wb.maxsim_matrix(queries, docs, normalize=normalize)
    assert found.shape == (len(query_lengths), len(doc_lengths))
    np.testing.assert_array_equal(found, reference.maxsim(queries, docs, normalize).astype(np.float32))


def test_one_query_is_a_row_of_the_matrix():
    queries, docs = make_sets([5, 0, 32, 50], 24), make_sets(random_lengths(200, 30), 24, 1)
    matrix = wb.maxsim_matrix(queries, docs)
    for query, row in zip(queries, matrix, strict=True):
        np.testing.assert_array_equal(wb.maxsim(query, docs), row)


@pytest.mark.parametrize("dtype", ["f32", "f16", "int8"])
def test_pairs_and_candidates_have_the_bits_of_the_matrix(dtype):
    queries, docs = make_sets(random_lengths(12, 20, 3), 40), make_sets(random_lengths(150, 60), 40, 1)
    store = wb.TokenStore(40, dtype)
    store.add(docs)
    for where in (docs, store):
        matrix = wb.maxsim_matrix(queries, where)
        rng = np.random.default_rng(4)
        pairs = np.stack([rng.integers(0, 12, 500), rng.integers(0, 150, 500)], axis=1)
        np.testing.assert_array_equal(
            wb.maxsim_pairs(queries, where, pairs), matrix[pairs[:, 0], pairs[:, 1]]
        )
        candidates = rng.integers(-1, 150, (12, 70))
        expected = np.where(candidates < 0, -np.inf, np.take_along_axis(matrix, candidates, 1))
        np.testing.assert_array_equal(wb.maxsim_pairs(queries, where, candidates=candidates), expected)
        diagonal = wb.maxsim_pairs(queries, where)
        np.testing.assert_array_equal(diagonal, np.diagonal(matrix))


def test_no_pairs_and_no_candidates_give_no_scores():
    sets = make_sets([3, 4], 8)
    assert wb.maxsim_pairs(sets, sets, np.zeros((0, 2), int)).shape == (0,)
    assert wb.maxsim_pairs(sets, sets, candidates=np.zeros((2, 0), int)).shape == (2, 0)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_change_no_bit(threads):
    queries, docs = make_sets(random_lengths(70, 30), 48), make_sets(random_lengths(900, 40), 48, 1)
    one = wb.maxsim_matrix(queries, docs, threads=1)
    np.testing.assert_array_equal(wb.maxsim_matrix(queries, docs, threads=threads), one)
    np.testing.assert_array_equal(wb.maxsim(queries[0], docs, threads=threads), one[0])


def test_instruction_sets_change_no_bit(run_python):
    program = """
import hashlib, numpy as np, whimbrel as wb
rng = np.random.default_rng(0)
queries = [rng.standard_normal((t, 50)) for t in rng.integers(0, 60, 20)]
docs = [rng.standard_normal((t, 50)) for t in rng.integers(0, 200, 80)]
docs += [np.repeat(doc, 2, axis=0) for doc in docs[:20]]  # ties
digest = hashlib.sha256(wb.maxsim_matrix(queries, docs).tobytes())
for dtype in ("f16", "int8"):
    store = wb.TokenStore(50, dtype)
    store.add(docs)
    digest.update(wb.maxsim_matrix(queries, store).tobytes())
print(digest.hexdigest())
"""
    found = {run_python(program, isa=isa) for isa in wb.available_isas()}
    assert len(found) == 1


def test_repeated_and_nearly_equal_tokens_change_nothing():
    queries = make_sets([20] * 5, 64)
    doc = make_sets([30], 64, 1)[0]
    nudged = np.concatenate([np.nextafter(doc, np.float32(s)) for s in (-9, 9)])
    plain = wb.maxsim_matrix(queries, [doc])
    np.testing.assert_array_equal(wb.maxsim_matrix(queries, [np.repeat(doc, 9, axis=0)]), plain)
    both = wb.maxsim_matrix(queries, [np.concatenate([nudged, doc])])
    each = [[wb.maxsim(query[i : i + 1], [nudged, doc]).max() for i in range(20)] for query in queries]
    np.testing.assert_array_equal(both[:, 0], np.sum(each, axis=1, dtype=np.float64).astype(np.float32))


def test_a_document_that_holds_the_query_scores_its_squared_norms():
    query = np.eye(6)[:4] * [[1], [2], [3], [4]]
    assert wb.maxsim(query, [query])[0] == 1 + 4 + 9 + 16
    assert wb.maxsim(query, [query], normalize=True)[0] == 7.5


def test_empty_sets_have_defined_scores():
    docs = [np.ones((2, 3)), np.zeros((0, 3))]
    np.testing.assert_array_equal(wb.maxsim(np.zeros((0, 3)), docs), [0, -np.inf])
    np.testing.assert_array_equal(wb.maxsim(np.zeros((0, 3)), docs, normalize=True), [0, -np.inf])
    np.testing.assert_array_equal(wb.maxsim(np.zeros((2, 3)), docs), [0, -np.inf])
    assert wb.maxsim(np.ones((2, 3)), np.zeros((0, 4, 3))).shape == (0,)
    assert wb.maxsim_matrix(np.zeros((0, 4, 3)), docs).shape == (0, 2)


def test_masks_hide_tokens():
    padded, mask = np.full((2, 3, 2), 9.0), np.array([[True, False, True], [False, False, False]])
    padded[0, ::2] = [[1, 0], [0, 1]]
    np.testing.assert_array_equal(wb.maxsim([[2.0, 3.0]], (padded, mask)), [3, -np.inf])


@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1e15, 1e18, 3e19])
def test_extreme_magnitudes_are_still_exact(scale):
    queries, docs = make_sets([7, 20], 33), make_sets([40, 3, 150], 33, 1)
    scaled = [(doc * np.float32(scale)).astype(np.float32) for doc in docs]
    found = wb.maxsim_matrix(queries, scaled)
    true = reference.maxsim(queries, scaled)
    np.testing.assert_allclose(found, true, rtol=1e-4, atol=1e-43)


def test_scores_that_overflow_are_minus_infinity():
    huge = np.full((1, 4), 1e38)
    np.testing.assert_array_equal(wb.maxsim(huge, [huge, np.zeros((1, 4))]), [-np.inf, 0])


@pytest.mark.parametrize(("dtype", "tolerance"), [("f32", 0), ("f16", 2**-11), ("int8", 1 / 254)])
def test_a_store_rounds_as_its_dtype_says(dtype, tolerance):
    docs = make_sets(random_lengths(50, 20), 24)
    store = wb.TokenStore(24, dtype)
    store.add(docs[:30])
    store.add(docs[30:])
    assert (len(store), store.n_tokens, store.dim, store.dtype) == (50, sum(map(len, docs)), 24, dtype)
    for doc, tokens in enumerate(docs):
        scale = np.abs(tokens) if dtype == "f16" else np.abs(tokens).max(axis=1, keepdims=True, initial=0)
        assert np.all(np.abs(store[doc] - tokens) <= tolerance * scale * 1.0001)
    np.testing.assert_array_equal(store[-1], store[49])
    rounded = [store[doc] for doc in range(50)]
    queries = make_sets([5, 40], 24, 1)
    np.testing.assert_array_equal(wb.maxsim_matrix(queries, store), wb.maxsim_matrix(queries, rounded))
    with pytest.raises(IndexError, match=r"doc: expected -50..49, got 50"):
        store[50]


def test_float16_storage_rounds_like_numpy():
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 0x7C00, 4000).astype(np.uint16) | (rng.integers(0, 2, 4000) << 15).astype(
        np.uint16
    )
    exact = codes.view(np.float16).astype(np.float32)
    below = np.nextafter(codes.view(np.float16), np.float16(0)).astype(np.float32)
    halfway = (exact + below) / 2
    near_ties = [np.nextafter(halfway, np.float32(s)) for s in (-1e9, 1e9)]
    edges = np.array([65504, -65504, 2**-24, 2**-25, 2**-26, 0, -0.0], np.float32)
    values = np.concatenate([exact, halfway, *near_ties, edges])
    store = wb.TokenStore(1, "f16")
    store.add([values[:, None]])
    expected = values.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(store[0][:, 0].view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("value", [65505.0, -1e30])
def test_values_out_of_the_range_of_float16_are_refused(value):
    store = wb.TokenStore(2, "f16")
    with pytest.raises(
        ValueError, match=r"docs: expected magnitudes up to 65504 for float16, got .* in row 1"
    ):
        store.add([[[1.0, 2.0], [0.0, value]]])
    assert len(store) == store.n_tokens == 0


def test_zero_and_tiny_vectors_can_be_stored_as_int8():
    store = wb.TokenStore(3, "int8")
    store.add([[[0, 0, 0], [1e-45, 0, 0], [1e-30, -1e-30, 0]]])
    np.testing.assert_allclose(store[0], [[0, 0, 0], [0, 0, 0], [1e-30, -1e-30, 0]], rtol=1e-6, atol=1e-44)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite_are_found(value):
    good, bad = make_sets([4, 5], 6), make_sets([4, 5], 6, dtype=np.float64)
    bad[1][2, 3] = value
    message = "expected finite values, got NaN or infinity in row 6"
    for call in (
        lambda: wb.maxsim(good[0], bad),
        lambda: wb.maxsim_matrix(good, bad),
        lambda: wb.maxsim_pairs(good, bad),
        lambda: wb.TokenStore(6, "f32").add(bad),
        lambda: wb.TokenStore(6, "int8").add(bad),
    ):
        with pytest.raises(ValueError, match=f"docs: {message}"):
            call()
    with pytest.raises(ValueError, match=f"queries: {message}"):
        wb.maxsim_matrix(bad, good)


@pytest.mark.parametrize("offsets", [[0, 6, 3, 9], [1, 9], [0, 8], [0, 10], [], [-1, 9]])
def test_offsets_that_do_not_describe_the_tokens_are_refused(offsets):
    tokens = np.ones((9, 2))
    offsets = np.array(offsets, np.int64)
    good = [np.ones((1, 2))]
    for name, call in (
        ("docs", lambda: wb.maxsim_matrix(good, (tokens, offsets))),
        ("docs", lambda: wb.maxsim(good[0], (tokens, offsets))),
        ("docs", lambda: wb.TokenStore(2).add((tokens, offsets))),
        ("queries", lambda: wb.maxsim_matrix((tokens, offsets), good)),
    ):
        with pytest.raises(ValueError, match=f"{name}: expected offsets"):
            call()


def test_wrong_arguments_are_named():
    sets = make_sets([3, 4], 8)
    store = wb.TokenStore(8)
    store.add(sets)
    other = make_sets([2], 5)
    for call, message in (
        (lambda: wb.maxsim(sets, sets), r"query: expected (shape|a rectangular)"),
        (lambda: wb.maxsim(np.ones((2, 2, 8)), sets), r"query: expected shape \(t, d\), got \(2, 2, 8\)"),
        (lambda: wb.maxsim(sets[0], other), r"docs\[0\]: expected shape \(t, 8\), got \(2, 5\)"),
        (lambda: wb.maxsim(other[0], store), r"queries: expected shape \(n, 8\), got \(2, 5\)"),
        (lambda: store.add(other), r"docs\[0\]: expected shape \(t, 8\), got \(2, 5\)"),
        (lambda: wb.maxsim(sets[0], sets, threads=-1), "threads: expected 0"),
        (lambda: wb.maxsim_pairs(sets, sets, [[0, 1, 2]]), r"pairs: expected shape \(m, 2\), got \(1, 3\)"),
        (
            lambda: wb.maxsim_pairs(sets, sets, candidates=[[0]]),
            r"candidates: expected shape \(2, c\), got \(1, 1\)",
        ),
        (lambda: wb.maxsim_pairs(sets, sets, [[0, 0]], candidates=[[0], [0]]), "candidates: expected either"),
        (lambda: wb.TokenStore(0), "dim: expected 1"),
        (lambda: wb.TokenStore(4, "f64"), "dtype: expected 'f32', 'f16' or 'int8', got 'f64'"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    for call, message in (
        (lambda: wb.maxsim_pairs(sets, sets, [[0, 2]]), "docs: expected an id below 2 or -1 for none, got 2"),
        (
            lambda: wb.maxsim_pairs(sets, sets, candidates=[[0], [-2]]),
            "docs: expected an id below 2 .* got -2",
        ),
        (lambda: wb.maxsim_pairs(sets, store, [[2, 0]]), "pairs: expected queries 0..1, got 2..2"),
    ):
        with pytest.raises(IndexError, match=message):
            call()
    with pytest.raises(TypeError, match="pairs: expected integers"):
        wb.maxsim_pairs(sets, sets, [[0.0, 1.0]])
    with pytest.raises(IndexError, match="docs: expected an id below 1 or -1 for none, got 1"):
        wb.maxsim_pairs(sets, sets[:1])
