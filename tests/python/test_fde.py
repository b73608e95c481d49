"""Encodings of vector sets: against the plain encoder, against known values, and what holds for any seed."""

import pickle

import numpy as np
import pytest
import reference_fde
import whimbrel as wb
from hypothesis import given, settings
from hypothesis import strategies as st
from whimbrel import _device_sets

QUERY = np.array([(1, 0, 0, 0), (0, 1, 0, 0), (0.6, 0.8, 0, 0)])
DOCUMENT = np.array([(0, 0, 1, 0), (0.8, 0.6, 0, 0), (0, -1, 0, 0)])


def tokens(n, d, seed=0):
    rows = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def sets(sizes, d, seed=0):
    return [tokens(n, d, seed * 1000 + i) for i, n in enumerate(sizes)]


def score(encoder, query, document):
    return float(encoder.encode_queries([query])[0] @ encoder.encode_documents([document])[0])


# ---------------------------------------------------------------- against the plain encoder


VARIANTS = (
    {"k_sim": 3, "r_reps": 4, "d_proj": 8},
    {"k_sim": 4, "r_reps": 3, "d_proj": 5, "projection": "sign"},
    {"k_sim": 2, "r_reps": 5, "d_proj": None, "seed": 2**63},
    {"k_sim": 3, "r_reps": 2, "d_proj": 3, "fill_empty": False, "seed": 9},
    {"k_sim": 4, "r_reps": 3, "d_proj": 8, "fill_empty": "mean", "seed": 5},
    {"k_sim": 3, "r_reps": 4, "d_proj": 8, "d_final": 50, "seed": 3},
    {"k_sim": 0, "r_reps": 2, "d_proj": 4},
    {"k_sim": 3, "r_reps": 4, "d_proj": 8, "mode": "google", "seed": 7},
    {"k_sim": 5, "r_reps": 2, "d_proj": None, "mode": "google", "seed": 2**32 - 1, "d_final": 33},
    {"k_sim": 3, "r_reps": 2, "d_proj": 4, "center": True},
)


@pytest.mark.parametrize("params", VARIANTS, ids=str)
@pytest.mark.parametrize("d", [1, 7, 64, 300])
def test_encodings_agree_with_the_plain_encoder(params, d):
    if "center" in params:
        params = {**params, "center": tokens(1, d, 5)[0] / 4}
    encoder, plain = wb.FdeEncoder(d, **params), reference_fde.Encoder(d, **params)
    given_sets = sets((1, 60, 0, 17, 2), d)
    documents, queries = encoder.encode_documents(given_sets), encoder.encode_queries(given_sets)
    assert documents.dtype == np.float32
    assert documents.shape == queries.shape == (5, encoder.dim_out)
    for i, rows in enumerate(given_sets):
        np.testing.assert_allclose(documents[i], plain.encode(rows, True), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(queries[i], plain.encode(rows, False), rtol=1e-5, atol=2e-5)


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9), max_size=6),
    d=st.integers(1, 9),
    k_sim=st.integers(0, 5),
    d_proj=st.sampled_from((None, 1, 3, 4, 8)),
    mode=st.sampled_from(("native", "google")),
)
def test_small_sets_agree_with_the_plain_encoder(sizes, d, k_sim, d_proj, mode):
    params = {"k_sim": k_sim, "r_reps": 2, "d_proj": d_proj, "mode": mode, "seed": d}
    encoder, plain = wb.FdeEncoder(d, **params), reference_fde.Encoder(d, **params)
    given_sets = sets(sizes, d, seed=k_sim)
    for rows, found in zip(given_sets, encoder.encode_documents(given_sets), strict=True):
        np.testing.assert_allclose(found, plain.encode(rows, True), rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------- known values of the reference


def test_the_reference_has_these_cells():
    encoder = wb.FdeEncoder(4, k_sim=2, r_reps=2, d_proj=None, seed=1, mode="google")
    query, document = encoder.encode_queries([QUERY])[0], encoder.encode_documents([DOCUMENT])[0]
    expected = np.zeros((8, 4))
    expected[[3, 4]] = (1.6, 1.8, 0, 0)
    np.testing.assert_allclose(query, expected.ravel(), atol=1e-6)
    a, b, c = DOCUMENT[1], DOCUMENT[2], DOCUMENT[0]
    np.testing.assert_allclose(document, np.concatenate([c, b, a, a, a, a, b, c]), atol=1e-6)
    assert query @ document == pytest.approx(2 * 2.36, abs=1e-5)


def test_the_reference_has_these_projections():
    encoder = wb.FdeEncoder(4, k_sim=2, r_reps=2, d_proj=2, seed=1, mode="google")
    query = [0, 0, 0, 0, 0, 0, -1.6, 1.8, 1.6, -1.8, 0, 0, 0, 0, 0, 0]
    document = [1, 0, 0, -1, -0.8, 0.6, -0.8, 0.6, 0.8, -0.6, 0.8, -0.6, 0, 1, 1, 0]
    np.testing.assert_allclose(encoder.encode_queries([QUERY])[0], query, atol=1e-6)
    np.testing.assert_allclose(encoder.encode_documents([DOCUMENT])[0], document, atol=1e-6)


def test_the_reference_has_this_final_sketch():
    encoder = wb.FdeEncoder(4, k_sim=2, r_reps=2, d_proj=None, d_final=6, seed=1, mode="google")
    query, document = encoder.encode_queries([QUERY])[0], encoder.encode_documents([DOCUMENT])[0]
    np.testing.assert_allclose(query, [1.6, 0, 0, 0, -3.6, -1.6], atol=1e-6)
    np.testing.assert_allclose(document, [1.6, -0.4, -2, 0, 0.4, -0.8], atol=1e-6)


def test_cells_are_numbered_in_gray_order_in_mode_google():
    rows = tokens(500, 6)
    native = wb.FdeEncoder(6, k_sim=3, r_reps=2, d_proj=None)
    google = wb.FdeEncoder(6, k_sim=3, r_reps=2, d_proj=None, mode="google")
    plain = reference_fde.Encoder(6, k_sim=3, r_reps=2, d_proj=None, mode="google")
    table = {(0, 0, 0): 0, (0, 0, 1): 1, (0, 1, 0): 3, (0, 1, 1): 2}
    table |= {(1, 0, 0): 7, (1, 0, 1): 6, (1, 1, 0): 4, (1, 1, 1): 5}
    for r, row in enumerate(google.partitions(rows)):
        assert [table[tuple(signs)] for signs in plain.signs(rows, r)] == row.tolist()
    assert set(native.partitions(rows).ravel().tolist()) == set(range(8))


# ---------------------------------------------------------------- what holds for any seed


@pytest.mark.parametrize("r_reps", [1, 7])
def test_one_cell_is_the_score_of_the_mean(r_reps):
    query, document = tokens(5, 20, 1), tokens(30, 20, 2)
    encoder = wb.FdeEncoder(20, k_sim=0, r_reps=r_reps, d_proj=None)
    expected = r_reps * (query @ document.mean(axis=0)).sum()
    assert score(encoder, query, document) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("mode", ["native", "google"])
def test_a_document_of_one_token_has_the_exact_score(mode):
    query, document = tokens(8, 20, 1), tokens(1, 20, 2)
    encoder = wb.FdeEncoder(20, k_sim=4, r_reps=6, d_proj=None, mode=mode)
    expected = 6 * reference_fde.chamfer(query, document)
    assert score(encoder, query, document) == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("projection", ["sign", "count_sketch"])
def test_a_document_of_one_token_has_the_exact_score_on_average(projection):
    query, document = tokens(8, 20, 1), tokens(1, 20, 2)
    found = [
        score(wb.FdeEncoder(20, 2, 1, 8, seed=s, projection=projection), query, document) for s in range(800)
    ]
    expected = reference_fde.chamfer(query, document)
    assert abs(np.mean(found) - expected) < 4 * np.std(found) / np.sqrt(len(found))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("mode", ["native", "google"])
def test_scores_lie_between_the_worst_and_the_best_match(seed, mode):
    query, document = tokens(12, 16, seed), tokens(40, 16, seed + 50)
    products = query.astype(np.float64) @ document.T.astype(np.float64)
    for k_sim in range(7):
        encoder = wb.FdeEncoder(16, k_sim=k_sim, r_reps=3, d_proj=None, seed=seed, mode=mode)
        parts = encoder.encode_queries([query])[0] * encoder.encode_documents([document])[0]
        for of_repetition in parts.reshape(3, -1).sum(axis=1):  # of each repetition, not only of their sum
            assert products.min(axis=1).sum() - 1e-4 <= of_repetition <= products.max(axis=1).sum() + 1e-4


def test_scores_approach_chamfer_with_more_cells():
    queries, documents = sets((16,) * 10, 24, seed=1), sets((50,) * 10, 24, seed=2)
    exact = sum(reference_fde.chamfer(q, p) for q in queries for p in documents)
    shares = []
    for k_sim in (0, 2, 4, 6, 8):
        encoder = wb.FdeEncoder(24, k_sim=k_sim, r_reps=20, d_proj=None)
        scores = encoder.encode_queries(queries) @ encoder.encode_documents(documents).T
        shares.append(scores.sum() / 20 / exact)
    assert shares == sorted(shares)
    assert shares[-1] <= 1


def test_queries_are_linear():
    encoder = wb.FdeEncoder(10, k_sim=3, r_reps=3, d_proj=4)
    a, b = tokens(7, 10, 1), tokens(9, 10, 2)
    both, first, second, scaled = encoder.encode_queries([np.concatenate([a, b]), a, b, 3 * a])
    np.testing.assert_allclose(both, first + second, atol=1e-5)
    np.testing.assert_allclose(scaled, 3 * first, atol=1e-5)


@pytest.mark.parametrize("fill_empty", [False, True, "mean"])
def test_repeating_every_token_changes_no_document(fill_empty):
    encoder = wb.FdeEncoder(10, k_sim=4, r_reps=3, d_proj=4, fill_empty=fill_empty)
    rows = tokens(9, 10)
    once, twice = encoder.encode_documents([rows, np.concatenate([rows, rows])])
    np.testing.assert_allclose(once, twice, atol=1e-6)


def test_the_order_of_tokens_decides_ties_of_the_fill_only():
    rows = tokens(30, 10)
    turned = rows[::-1]
    plain = wb.FdeEncoder(10, k_sim=4, r_reps=3, d_proj=4, fill_empty=False)
    filled = wb.FdeEncoder(10, k_sim=4, r_reps=3, d_proj=4)
    np.testing.assert_allclose(*plain.encode_queries([rows, turned]), atol=1e-5)
    empty_cells = plain.encode_documents([rows, turned])
    np.testing.assert_allclose(*empty_cells, atol=1e-5)
    occupied = empty_cells[0] != 0
    first, second = filled.encode_documents([rows, turned])
    np.testing.assert_allclose(first[occupied], second[occupied], atol=1e-5)


def test_a_mean_fills_as_well_whatever_the_order_of_tokens():
    encoder = wb.FdeEncoder(10, k_sim=5, r_reps=3, d_proj=4, fill_empty="mean")
    rows = tokens(6, 10)
    first, second = encoder.encode_documents([rows, rows[::-1]])
    np.testing.assert_allclose(first, second, atol=1e-6)
    assert first.reshape(3, 32, 4).any(axis=2).all()
    as_token = wb.FdeEncoder(10, k_sim=5, r_reps=3, d_proj=4, fill_empty="token")
    assert as_token.fingerprint == wb.FdeEncoder(10, k_sim=5, r_reps=3, d_proj=4).fingerprint
    np.testing.assert_array_equal(encoder.encode_queries([rows]), as_token.encode_queries([rows]))


def test_devices_refuse_to_fill_with_means():
    encoder = wb.FdeEncoder(10, fill_empty="mean")
    with pytest.raises(ValueError, match="fill_empty: expected True or False on a device, got 'mean'"):
        _device_sets.encode(encoder.params, encoder.dim_out, "documents", None, "float32")


def test_filled_cells_hold_a_token():
    encoder = wb.FdeEncoder(10, k_sim=5, r_reps=2, d_proj=None)
    rows = tokens(6, 10)
    cells = encoder.partitions(rows)
    encoding = encoder.encode_documents([rows])[0].reshape(2, 32, 10)
    for r in range(2):
        for cell in sorted(set(range(32)) - set(cells[r].tolist())):
            distance = [bin(int(c) ^ cell).count("1") for c in cells[r]]
            np.testing.assert_array_equal(encoding[r, cell], rows[np.argmin(distance)])


@pytest.mark.parametrize("projection", ["sign", "count_sketch"])
def test_projections_keep_inner_products_on_average_with_the_known_variance(projection):
    x, y = tokens(1, 32, 1), tokens(1, 32, 2)
    products = []
    for seed in range(20):
        encoder = wb.FdeEncoder(32, k_sim=0, r_reps=100, d_proj=8, seed=seed, projection=projection)
        parts = encoder.encode_queries([x])[0] * encoder.encode_documents([y])[0]
        products += parts.reshape(100, 8).sum(axis=1).tolist()
    exact = float((x @ y.T).item())
    variance = (1 + exact**2 - 2 * float(((x * y) ** 2).sum())) / 8
    assert len(products) == 2000
    assert abs(np.mean(products) - exact) < 4 * np.std(products) / np.sqrt(2000)
    assert np.var(products) == pytest.approx(variance, rel=0.1)


def test_the_final_sketch_keeps_inner_products_on_average():
    query, document = tokens(6, 12, 1), tokens(20, 12, 2)
    expected = score(wb.FdeEncoder(12, 3, 2, None), query, document)
    # The planes stay while the sketch changes only if the seed does: compare with each seed's own score.
    differences = [
        score(wb.FdeEncoder(12, 3, 2, None, 40, seed=s), query, document)
        - score(wb.FdeEncoder(12, 3, 2, None, seed=s), query, document)
        for s in range(600)
    ]
    assert expected > 0
    assert abs(np.mean(differences)) < 4 * np.std(differences) / np.sqrt(600)


def test_query_encodings_are_sparse():
    encoder = wb.FdeEncoder(16, k_sim=5, r_reps=6, d_proj=8)
    for n in (1, 5, 100):
        found = np.count_nonzero(encoder.encode_queries([tokens(n, 16)]))
        assert found <= min(n, 32) * 8 * 6


def test_recall_rises_with_the_repetitions():
    documents, recalls = sets((20,) * 300, 32, seed=3), []
    rng = np.random.default_rng(4)
    queries = [d[:8] + 0.25 * rng.standard_normal((8, 32)).astype(np.float32) for d in documents[:100]]
    best = [np.argmax([reference_fde.chamfer(q, p) for p in documents]) for q in queries]
    for r_reps in (5, 10, 20):
        encoder = wb.FdeEncoder(32, k_sim=3, r_reps=r_reps, d_proj=4)
        scores = encoder.encode_queries(queries) @ encoder.encode_documents(documents).T
        top = np.argsort(-scores, axis=1)[:, :5]
        recalls.append(np.mean([b in row for b, row in zip(best, top, strict=True)]))
    assert recalls == sorted(recalls)
    assert recalls[0] < recalls[-1]


# ---------------------------------------------------------------- the same bits


@pytest.mark.parametrize("params", VARIANTS[:-1], ids=str)
def test_encodings_do_not_depend_on_threads_or_batch(params):
    encoder = wb.FdeEncoder(33, **params)
    given_sets = sets(np.random.default_rng(0).integers(0, 130, 60), 33)
    once = encoder.encode_documents(given_sets, threads=1)
    for threads in (2, 7):
        np.testing.assert_array_equal(once, encoder.encode_documents(given_sets, threads=threads))
    alone = np.concatenate([encoder.encode_documents([rows]) for rows in given_sets])
    np.testing.assert_array_equal(once, alone)


PROGRAM = """
import hashlib
import numpy as np
import whimbrel as wb
rng = np.random.default_rng(0)
for dim in (1, 20, 33, 300):
    sets = [rng.standard_normal((n, dim)).astype(np.float32) for n in (0, 1, 50, 200)]
    sets.append(np.zeros((3, dim)))
    sets.append(np.round(sets[3]))  # products of exactly zero are likely
    for params in ({"d_proj": 8}, {"d_proj": 6, "projection": "sign"}, {"d_proj": None, "d_final": 99},
                   {"mode": "google"}, {"center": np.full(dim, 0.1)}):
        encoder = wb.FdeEncoder(dim, k_sim=4, r_reps=5, **params)
        digest = hashlib.sha256(encoder.partitions(np.concatenate(sets)).tobytes())
        for dtype in ("float32", "float16"):
            digest.update(encoder.encode_documents(sets, dtype=dtype).tobytes())
            digest.update(encoder.encode_queries(sets, dtype=dtype).tobytes())
        print(digest.hexdigest())
"""


def test_encodings_do_not_depend_on_the_instruction_set(run_python):
    printed = {isa: run_python(PROGRAM, isa=isa) for isa in wb.available_isas()}
    assert len(set(printed.values())) == 1, printed


def test_all_forms_of_the_same_sets_have_the_same_encodings():
    encoder = wb.FdeEncoder(8, k_sim=2, r_reps=2, d_proj=4)
    rows = tokens(12, 8)
    expected = encoder.encode_documents([rows[:6], rows[6:]])
    wide = np.zeros((12, 16), np.float32)
    wide[:, ::2] = rows
    for form in (
        (rows, [0, 6, 12]),
        (np.asfortranarray(rows), np.array([0, 6, 12])),
        rows.reshape(2, 6, 8),
        [wide[:6, ::2], wide[6:, ::2]],
        (np.concatenate([rows.reshape(2, 6, 8), np.ones((2, 3, 8))], axis=1), np.arange(9) < [[6], [6]]),
        [rows[:6].astype(np.float64), rows[6:].tolist()],
    ):
        np.testing.assert_array_equal(encoder.encode_documents(form), expected)
    half = rows.astype(np.float16)
    np.testing.assert_array_equal(
        encoder.encode_documents([half]), encoder.encode_documents([half.astype(np.float32)])
    )


# ---------------------------------------------------------------- types of output


def test_float16_is_the_rounded_float32():
    encoder = wb.FdeEncoder(16, k_sim=3, r_reps=4, d_proj=8)
    given_sets = [s * scale for s in sets((5, 40), 16) for scale in (1e-7, 1e-3, 1, 1e3)]
    for encode in (encoder.encode_documents, encoder.encode_queries):
        half = encode(given_sets, dtype="float16")
        assert half.dtype == np.float16
        np.testing.assert_array_equal(half, encode(given_sets).astype(np.float16))


def test_int8_is_within_half_a_step():
    encoder = wb.FdeEncoder(16, k_sim=3, r_reps=4, d_proj=8, d_final=100)
    given_sets = [*sets((5, 40), 16), np.empty((0, 16)), tokens(9, 16) * 1e30, np.full((1, 16), 1e-42)]
    exact = encoder.encode_documents(given_sets)
    codes, scales = encoder.encode_documents(given_sets, dtype="int8")
    assert (codes.dtype, scales.dtype, codes.shape) == (np.int8, np.float32, exact.shape)
    assert codes.min() == -127 or codes.max() == 127
    np.testing.assert_allclose(scales[:4], np.abs(exact[:4]).max(axis=1) / 127, rtol=1e-6)
    error = np.abs(codes * scales[:, None].astype(np.float64) - exact)
    assert np.all(error[:4] <= scales[:4, None] * 0.50001)
    assert scales[2] == 0
    assert not codes[2].any()
    assert np.isfinite(scales).all()


# ---------------------------------------------------------------- edges and bad input


@pytest.mark.parametrize("params", VARIANTS[:-1], ids=str)
def test_sets_without_tokens_are_zeros(params):
    encoder = wb.FdeEncoder(6, **params)
    for encode in (encoder.encode_documents, encoder.encode_queries):
        assert encode([]).shape == (0, encoder.dim_out)
        assert not encode([np.empty((0, 6)), []]).any()


def test_tokens_without_direction_have_no_signs():
    encoder = wb.FdeEncoder(6, k_sim=3, r_reps=4, d_proj=4)
    rows = np.stack([np.zeros(6), np.full(6, 1e-44), np.full(6, 3e38)])
    assert not encoder.partitions(rows[:1]).any()
    encodings = encoder.encode_documents([rows[:1], rows[:2]])
    assert np.isfinite(encodings).all()
    assert not encodings[0].any()


def test_a_query_is_never_filled():
    encoder = wb.FdeEncoder(6, k_sim=4, r_reps=1, d_proj=None, fill_empty=True)
    assert np.count_nonzero(encoder.encode_queries([tokens(1, 6)])) == 6


def test_thousands_of_tokens_agree_with_the_plain_encoder():
    params = {"k_sim": 3, "r_reps": 12, "d_proj": 64}
    encoder, plain = wb.FdeEncoder(64, **params), reference_fde.Encoder(64, **params)
    rows = tokens(5000, 64)
    found = encoder.encode_documents([rows[:10], rows, rows[:10]])
    np.testing.assert_allclose(found[1], plain.encode(rows, True), atol=2e-5)
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("position", [0, 70, 999])
def test_values_that_are_not_finite_are_found(value, position):
    rows = tokens(1000, 5).astype(np.float64)
    rows[position, 3] = value
    for center in (None, np.ones(5)):
        encoder = wb.FdeEncoder(5, k_sim=2, r_reps=2, d_proj=3, center=center)
        for name, encode in (("documents", encoder.encode_documents), ("queries", encoder.encode_queries)):
            with pytest.raises(ValueError, match=f"{name}: expected finite values, .* row {position}$"):
                encode((rows, np.arange(0, 1001, 50)))
        with pytest.raises(ValueError, match="tokens: expected finite values"):
            encoder.partitions(rows)


@pytest.mark.parametrize(
    ("form", "kind", "text"),
    [
        ((np.zeros((4, 5)), [0, 3, 2, 4]), ValueError, "never fall"),
        ((np.zeros((4, 5)), [1, 4]), ValueError, "start at 0"),
        ((np.zeros((4, 5)), [0, 5]), ValueError, "number of vectors"),
        ([np.zeros((4, 5)), np.zeros((4, 6))], ValueError, r"documents\[1\]: expected shape"),
        ([np.zeros((4, 6))], ValueError, r"documents\[0\]: expected shape \(t, 5\)"),
        ((np.zeros((4, 6)), [0, 4]), ValueError, r"expected shape \(t, 5\)"),
        (np.zeros((4, 5)), ValueError, "expected sets"),
        ([np.zeros((4, 5), complex)], TypeError, "real numbers"),
        (None, TypeError, "expected sets"),
    ],
)
def test_bad_sets_are_errors(form, kind, text):
    with pytest.raises(kind, match=text):
        wb.FdeEncoder(5).encode_documents(form)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"dim": 0}, "dim: expected"),
        ({"k_sim": 25}, "k_sim: expected"),
        ({"k_sim": -1}, "k_sim: expected"),
        ({"r_reps": 0}, "r_reps: expected"),
        ({"d_proj": 0}, "d_proj: expected"),
        ({"d_final": 0}, "d_final: expected"),
        ({"d_final": 2**28 + 1}, "d_final: expected"),
        ({"k_sim": 24, "r_reps": 2, "d_proj": 16}, r"r_reps \* 2\^k_sim \* d_proj: expected at most"),
        ({"r_reps": 65536, "k_sim": 20}, r"r_reps \* 2\^k_sim \* d_proj: expected at most"),
        ({"seed": -1}, "seed: expected"),
        ({"seed": 2**32, "mode": "google"}, "seed: expected below 2"),
        ({"mode": "google", "projection": "sign"}, "projection: expected"),
        ({"fill_empty": "median"}, "fill_empty: expected 'token' or 'mean', got 'median'"),
        (
            {"fill_empty": "mean", "mode": "google"},
            "fill_empty: expected True or False in mode 'google', got 'mean'",
        ),
        ({"mode": "faiss"}, "mode: expected 'native' or 'google', got 'faiss'"),
        ({"projection": "dense"}, "projection: expected"),
        ({"center": np.zeros(4)}, "center: expected shape"),
        ({"center": np.full(5, np.nan)}, "center: expected finite"),
    ],
)
def test_parameters_out_of_range_are_errors(params, text):
    with pytest.raises(ValueError, match=text):
        wb.FdeEncoder(**{"dim": 5, **params})


def test_arguments_of_another_type_are_errors():
    with pytest.raises(TypeError, match="d_proj: expected an integer, got NoneType"):
        wb.FdeEncoder(5, d_proj=None, projection="sign")
    with pytest.raises(TypeError, match="k_sim: expected an integer"):
        wb.FdeEncoder(5, k_sim=2.0)
    with pytest.raises(ValueError, match="dtype: expected 'float32', 'float16' or 'int8'"):
        wb.FdeEncoder(5).encode_documents([], dtype="float64")


def test_progress_counts_sets_and_cancels():
    encoder, calls = wb.FdeEncoder(8, 2, 2, 4), []
    encoder.encode_documents(sets((5,) * 20, 8), progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (20, 20)
    with pytest.raises(wb.CancelledError):
        encoder.encode_documents(sets((5,) * 20, 8), progress=lambda done, total: False)


# ---------------------------------------------------------------- parameters


def test_an_encoder_pickles_as_its_parameters():
    for params in (*VARIANTS[:-1], {"center": np.linspace(0, 1, 9)}):
        encoder = wb.FdeEncoder(9, **params)
        twin = pickle.loads(pickle.dumps(encoder))
        assert (twin.params, twin.fingerprint) == (encoder.params, encoder.fingerprint)
        rows = sets((4, 9), 9)
        np.testing.assert_array_equal(twin.encode_documents(rows), encoder.encode_documents(rows))
        assert wb.FdeEncoder(**encoder.params).fingerprint == encoder.fingerprint


def test_fingerprints_differ_where_encodings_may():
    changes = [{}, {"k_sim": 4}, {"r_reps": 21}, {"d_proj": 8}, {"d_proj": None}, {"d_final": 7}, {"seed": 1}]
    changes += [
        {"fill_empty": False},
        {"fill_empty": "mean"},
        {"mode": "google"},
        {"projection": "sign"},
        {"center": np.ones(16)},
    ]
    prints = [wb.FdeEncoder(16, **c).fingerprint for c in changes]
    assert len(set(prints)) == len(prints)
    assert "libstdc++" in prints[9]
    assert prints[0] == (
        "fde 1; mode native; dim 16; k_sim 5; r_reps 20; projection count_sketch; d_proj 16; d_final 0; "
        "fill_empty 1; seed 0; center none"
    )


def test_diagnostics_measure_what_they_say():
    encoder, sample = wb.FdeEncoder(16, k_sim=3, r_reps=10, d_proj=None), sets((30,) * 20, 16)
    found = encoder.diagnostics(sample)
    assert found.occupancy.shape == (10, 8)
    np.testing.assert_allclose(found.occupancy.sum(axis=1), 1)
    assert 6 < found.effective_cells <= 8
    assert 0 <= found.empty_share < 0.3
    assert 0 < found.correlation <= 1
    assert 0 < found.ratio <= 1
    crowded = [s / 10 + np.eye(16)[0] for s in sample]
    assert encoder.diagnostics(crowded).effective_cells < 3
    centered = wb.FdeEncoder(16, k_sim=3, r_reps=10, d_proj=None, center=np.concatenate(crowded).mean(axis=0))
    assert centered.diagnostics(crowded).effective_cells > 6


def test_suggested_parameters_fit_and_are_the_best_of_the_grid():
    sample = sets(np.random.default_rng(1).integers(3, 40, 40), 24)
    for dim in (32, 500, 2048):
        encoder = wb.FdeEncoder.suggest(sample, dim, seed=5)
        assert encoder.dim_out <= dim
        assert encoder.params["seed"] == 5
        other = wb.FdeEncoder(24, 2, max(1, dim // 32), 8, seed=5)
        assert encoder.diagnostics(sample).correlation >= other.diagnostics(sample).correlation - 1e-6


def test_samples_that_say_nothing_are_errors():
    with pytest.raises(ValueError, match="sample: expected at least 2 documents"):
        wb.FdeEncoder.suggest(sets((4, 0), 8), 100)
    with pytest.raises(ValueError, match="dim: expected"):
        wb.FdeEncoder.suggest(sets((4, 4), 8), 31)
    with pytest.raises(ValueError, match="sample: expected finite"):
        wb.FdeEncoder(8).diagnostics([np.full((2, 8), np.nan), np.ones((2, 8))])
