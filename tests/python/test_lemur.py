"""LemurEncoder: its features by their identities, its fit against float64, its use in an index."""

import pickle

import numpy as np
import pytest
import reference
import whimbrel as wb

DIM = 12


def unit_sets(lengths, seed, dim=DIM):
    rng = np.random.default_rng(seed)
    sets = [rng.standard_normal((t, dim)) for t in lengths]
    return [(s / np.linalg.norm(s, axis=1, keepdims=True)).astype(np.float32) for s in sets]


DOCS = [*unit_sets([7, 1, 20, 3] * 30, 1), np.zeros((0, DIM), np.float32)]
QUERIES = unit_sets([5, 9, 1, 14], 2)
SAMPLE = np.concatenate(DOCS)[:600]


@pytest.fixture(scope="module")
def encoder():
    return wb.LemurEncoder(SAMPLE, width=96)


def test_features_are_normalized_and_grow_with_the_token(encoder):
    tokens = np.concatenate(QUERIES) * np.linspace(0.1, 5, 29, dtype=np.float32)[:, None]
    features = encoder.encode_queries([token[None] for token in tokens])
    norms = np.linalg.norm(tokens.astype(np.float64), axis=1)
    np.testing.assert_allclose(features[:, 0], norms, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(features[:, 1:], axis=1), norms, rtol=1e-5)
    np.testing.assert_allclose(features[:, 1:].sum(axis=1) / norms, 0, atol=1e-5)
    doubled = encoder.encode_queries([2 * token[None] for token in tokens])
    np.testing.assert_array_equal(doubled, 2 * features)
    assert not encoder.encode_queries([np.zeros((3, DIM))]).any()
    assert len(np.unique(features[0])) == 96


def test_queries_are_sums_of_features(encoder):
    whole = encoder.encode_queries(QUERIES)
    parts = [encoder.encode_queries([token[None] for token in query]) for query in QUERIES]
    np.testing.assert_allclose(whole, [part.sum(axis=0) for part in parts], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ridge", [1e-3, 0.1])
def test_documents_are_the_least_squares_of_the_definition(ridge):
    encoder = wb.LemurEncoder(SAMPLE, width=96, ridge=ridge)
    features = encoder.encode_queries([token[None] for token in SAMPLE]).astype(np.float64)
    targets = reference.maxsim([token[None] for token in SAMPLE], DOCS[:-1])
    covariance = features.T @ features
    covariance += ridge * np.trace(covariance) / 96 * np.eye(96)
    expected = np.linalg.solve(covariance, features.T @ targets).T
    found = encoder.encode_documents(DOCS)
    np.testing.assert_allclose(found[:-1], expected, rtol=0, atol=2e-4 * np.abs(expected).max())
    assert not found[-1].any()


def test_scores_follow_maxsim(encoder):
    scores = encoder.encode_queries(QUERIES) @ encoder.encode_documents(DOCS[:-1]).T
    exact = wb.maxsim_matrix(QUERIES, DOCS[:-1])
    for a, b in zip(scores, exact, strict=True):
        assert np.corrcoef(a, b)[0, 1] > 0.9


def test_batches_threads_and_pickles_change_no_bit(encoder):
    documents, queries = encoder.encode_documents(DOCS, threads=1), encoder.encode_queries(QUERIES, threads=1)
    again = wb.LemurEncoder(SAMPLE, width=96, threads=3)
    for other in (again, pickle.loads(pickle.dumps(encoder))):
        assert other.fingerprint == encoder.fingerprint
        np.testing.assert_array_equal(other.encode_documents(DOCS, threads=3), documents)
        np.testing.assert_array_equal(other.encode_queries(QUERIES, threads=3), queries)
    one_by_one = [encoder.encode_documents([doc])[0] for doc in DOCS]
    np.testing.assert_array_equal(one_by_one, documents)


def test_instruction_sets_change_no_bit(run_python):
    program = """
import hashlib, numpy as np, whimbrel as wb
rng = np.random.default_rng(0)
docs = [rng.standard_normal((t, 33)) for t in rng.integers(0, 20, 30)]
encoder = wb.LemurEncoder(docs, width=50)
digest = hashlib.sha256(encoder.encode_documents(docs).tobytes())
digest.update(encoder.encode_queries(docs).tobytes())
print(digest.hexdigest())
"""
    assert len({run_python(program, isa=isa) for isa in wb.available_isas()}) == 1


def test_fingerprints_tell_encoders_apart(encoder):
    changed = SAMPLE.copy()
    changed[3] = changed[4]
    others = [
        wb.LemurEncoder(SAMPLE, width=96, seed=1),
        wb.LemurEncoder(SAMPLE, width=97),
        wb.LemurEncoder(SAMPLE, width=96, ridge=0.02),
        wb.LemurEncoder(changed, width=96),
    ]
    assert len({other.fingerprint for other in [encoder, *others]}) == 5


def test_it_plugs_into_the_index(encoder, tmp_path):
    index = wb.MultiVectorIndex(DIM, encoder, store="f32")
    index.add(DOCS)
    exact = np.argsort(-wb.maxsim_matrix(QUERIES, DOCS), axis=1)[:, :5]
    found = index.search(QUERIES, k=5, candidates=30).ids
    assert np.mean([len(np.intersect1d(a, b)) for a, b in zip(found, exact, strict=True)]) / 5 >= 0.9
    index.save(tmp_path / "a")
    loaded = wb.MultiVectorIndex.load(tmp_path / "a", pickle.loads(pickle.dumps(encoder)))
    np.testing.assert_array_equal(loaded.search(QUERIES, k=5, candidates=30).ids, found)


def test_a_sample_is_thinned_evenly():
    many = np.repeat(SAMPLE[:100], 10, axis=0)
    encoder = wb.LemurEncoder(many, width=12)
    assert "sample=96:" in encoder.fingerprint
    assert "sample=100:" in wb.LemurEncoder(SAMPLE[:100], width=96).fingerprint


def test_wrong_arguments_are_named(encoder):
    for call, message in (
        (lambda: wb.LemurEncoder(np.zeros((0, DIM))), "sample: expected tokens, got none"),
        (lambda: wb.LemurEncoder(np.full((3, DIM), np.nan)), "sample: expected finite values"),
        (lambda: wb.LemurEncoder(SAMPLE, width=1), "width: expected 2..16384, got 1"),
        (lambda: wb.LemurEncoder(SAMPLE, ridge=0), "ridge: expected a number above 0, got 0"),
        (lambda: wb.LemurEncoder(SAMPLE, ridge=float("nan")), "ridge: expected a number above 0, got nan"),
        (lambda: encoder.encode_documents([np.ones((2, 5))]), r"documents\[0\]: expected shape \(t, 12\)"),
        (lambda: encoder.encode_queries([np.full((1, DIM), np.inf)]), "queries: expected finite values"),
        (lambda: encoder.encode_documents((SAMPLE, [0, 3, 1, 600])), "documents: expected offsets"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(wb.CancelledError):
        encoder.encode_documents(DOCS, progress=lambda done, total: False)
