"""CurIndex against float64 numpy: the worked examples and the invariants of the method."""

import contextlib
import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import reference
import whimbrel as wb

EXAMPLE = np.array([[1, 2, 3, 4], [2, 1, 0, -1]], dtype=float)


def low_rank(queries=80, items=300, rank=6, noise=0.0, seed=0):
    """Scores of some rank, with a mean per item, plus noise."""
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((queries, rank)) @ rng.standard_normal((rank, items))
    return scores + rng.standard_normal(items) + noise * rng.standard_normal((queries, items))


def noisy_test_bed(seed):
    """Decaying spectrum of rank 64 and noise: where a square pseudo-inverse fails."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((64, 3000)) / np.sqrt(1 + np.arange(64))[:, None]
    clean = rng.standard_normal((130, 64)) @ weights
    return clean + 0.3 * clean.std() * rng.standard_normal(clean.shape)


def top(scores, k):
    return np.argsort(-np.asarray(scores), axis=-1, kind="stable")[..., :k]


@pytest.mark.parametrize(
    ("items", "scores", "mu", "expected"),
    [
        ([0, 1], [0, 3], 0, [0, 3, 6, 9]),
        ([0], [3], 0, [3, 2.4, 1.8, 1.2]),
        ([0, 1, 2], [0, 3, 6.5], 0, [-0.083333, 3.166667, 6.416667, 9.666667]),
        ([0, 1], [0, 3], 0.1, [0.119880, 2.847153, 5.574426, 8.301698]),
        ([0, 1], [0, 3], 1, [0.6, 2.1, 3.6, 5.1]),
    ],
)
def test_worked_examples(items, scores, mu, expected):
    cur = wb.CurIndex.fit(EXAMPLE, center=False)
    np.testing.assert_allclose(cur.approximate(items, scores, mu=mu), expected, atol=2e-6)


def test_worked_example_of_greedy_anchors():
    chosen, gains = reference.l2_greedy(EXAMPLE.T, 2)
    np.testing.assert_allclose(gains[0], [10.8, 25.2, 30.0, 28.588235], atol=1e-6)
    np.testing.assert_allclose(gains[1], [6, 6, -1, 6], atol=1e-9)
    assert chosen == [2, 0]
    cur = wb.CurIndex.fit(EXAMPLE, center=False)
    assert cur.select_anchors(2).tolist() == [2, 0]
    assert sorted(cur.select_anchors(4)) == [0, 1, 2, 3]  # nothing is left after two: the rest is random


def test_worked_example_of_a_shift():
    one = np.array([[1.0, 2, 3, 4]])
    plain = wb.CurIndex.fit(one, center=False)
    shifted = wb.CurIndex.fit(one + 10, center=False)
    np.testing.assert_allclose(plain.approximate([0], [2], mu=0), [2, 4, 6, 8], atol=1e-6)
    np.testing.assert_allclose(
        shifted.approximate([0], [12], mu=0) - 10, [2, 3.0909, 4.1818, 5.2727], atol=1e-4
    )


# ---------------------------------------------------------------- invariants


@pytest.mark.parametrize("center", [False, True])
def test_scores_of_low_rank_are_exact(center):
    scores = low_rank()
    cur = wb.CurIndex.fit(scores[:60], center=center)
    anchors = cur.select_anchors(20)
    found = cur.approximate(anchors, scores[60:, anchors], mu=0)
    np.testing.assert_allclose(found, scores[60:], atol=2e-4)


@pytest.mark.parametrize("storage", ["f32", "f16"])
def test_scored_items_keep_their_scores_while_they_are_fewer_than_queries(storage):
    scores = low_rank(noise=1.0)
    cur = wb.CurIndex.fit(scores[:60], storage=storage)
    items = np.random.default_rng(1).permutation(300)[:40]
    found = cur.approximate(items, scores[60:, items], mu=0)
    np.testing.assert_allclose(found[:, items], scores[60:, items], atol=1e-4)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize(
    ("m", "mu"),  # a nearly square system without a ridge has no stable solution
    [(1, 0.0), (20, 0.0), (150, 0.0), *((m, mu) for m in (1, 20, 60, 61, 150) for mu in (0.5, 20.0))],
)
def test_predictions_agree_with_the_reference(m, center, mu):
    scores = low_rank(noise=1.0, seed=2)
    cur = wb.CurIndex.fit(scores[:60], center=center)
    items = np.random.default_rng(m).permutation(300)[:m]
    expected = [reference.cur_scores(scores[:60], items, row[items], mu, center) for row in scores[60:]]
    np.testing.assert_allclose(cur.approximate(items, scores[60:, items], mu=mu), expected, atol=2e-4)


def test_the_order_of_scored_items_does_not_matter():
    scores = low_rank(noise=0.5)
    cur = wb.CurIndex.fit(scores[:60])
    items = np.arange(30)
    shuffled = np.random.default_rng(3).permutation(items)
    expected = cur.approximate(items, scores[60, items], mu=1.0)
    np.testing.assert_allclose(cur.approximate(shuffled, scores[60, shuffled], mu=1.0), expected, atol=1e-5)


def test_permuted_items_have_permuted_predictions():
    scores = low_rank(noise=0.5)
    order = np.random.default_rng(4).permutation(300)
    place = np.argsort(order)
    cur, permuted = wb.CurIndex.fit(scores[:60]), wb.CurIndex.fit(scores[:60][:, order])
    items = np.arange(30)
    expected = cur.approximate(items, scores[60, items], mu=1.0)
    found = permuted.approximate(place[items], scores[60, items], mu=1.0)
    np.testing.assert_allclose(found, expected[order], atol=1e-5)


def test_scaled_scores_scale_predictions():
    scores = low_rank(noise=0.5)
    cur, scaled = wb.CurIndex.fit(scores[:60]), wb.CurIndex.fit(8 * scores[:60])
    items = np.arange(40)
    expected = cur.approximate(items, scores[60, items], mu=0.7)
    np.testing.assert_allclose(
        scaled.approximate(items, 8 * scores[60, items], mu=0.7 * 64), 8 * expected, rtol=1e-5, atol=1e-4
    )
    chosen = cur.approximate(items, scores[60, items])  # the chosen mu scales by itself
    np.testing.assert_allclose(
        scaled.approximate(items, 8 * scores[60, items]), 8 * chosen, rtol=1e-5, atol=1e-4
    )


def test_a_shift_of_all_scores_changes_nothing_but_the_shift_when_centered():
    scores = low_rank(noise=0.5)
    items = np.arange(40)
    predictions = {}
    for center in (True, False):
        for shift in (0, 100):
            cur = wb.CurIndex.fit(scores[:60] + shift, center=center)
            predictions[center, shift] = cur.approximate(items, scores[60, items] + shift, mu=1.0) - shift
    np.testing.assert_allclose(predictions[True, 100], predictions[True, 0], atol=2e-4)
    assert np.abs(predictions[False, 100] - predictions[False, 0]).max() > 0.01


def test_an_intercept_follows_a_query_that_scores_everything_higher():
    scores = low_rank()
    items = np.arange(40)
    cur = wb.CurIndex.fit(scores[:60], intercept=True)
    found = cur.approximate(items, scores[60, items] + 50, mu=1e-6)
    np.testing.assert_allclose(found, scores[60] + 50, atol=0.01)


def test_duplicated_anchor_queries_change_no_overdetermined_solution():
    scores = low_rank(noise=1.0)
    cur = wb.CurIndex.fit(scores[:20], center=False)
    twice = wb.CurIndex.fit(np.concatenate([scores[:20], scores[:5]]), center=False)
    items = np.arange(100)
    expected = cur.approximate(items, scores[60, items], mu=0)
    np.testing.assert_allclose(twice.approximate(items, scores[60, items], mu=0), expected, atol=1e-3)


def test_both_forms_of_the_regression_agree():
    """At m = k_q the form changes; one more item that says nothing new must not be felt."""
    scores = low_rank(noise=1.0)
    cur = wb.CurIndex.fit(np.c_[scores[:50], scores[:50].mean(axis=1)], center=False)
    zero = wb.CurIndex.fit(np.c_[scores[:50], np.zeros(50)], center=False)
    items = np.arange(50)
    few = zero.approximate(items, scores[60, items], mu=2.0)
    more = zero.approximate(np.r_[items, 300], np.r_[scores[60, items], 0], mu=2.0)
    np.testing.assert_allclose(more, few, atol=1e-5)
    assert len(cur) == 301


def test_as_many_items_as_features_recover_a_linear_scorer():
    rng = np.random.default_rng(5)
    scores = rng.standard_normal((40, 40)) @ rng.standard_normal((40, 200))
    query = rng.standard_normal(40) @ np.linalg.lstsq(np.eye(40), scores, rcond=None)[0]
    cur = wb.CurIndex.fit(scores, center=False)
    items = np.arange(60)
    np.testing.assert_allclose(cur.approximate(items, query[items], mu=0), query, atol=1e-2)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_dip_exists_without_a_ridge_and_not_by_default(seed):
    scores = noisy_test_bed(seed)
    cur = wb.CurIndex.fit(scores[:100])
    truth = top(scores[100:], 10)

    def recall(m, mu):
        items = np.random.default_rng(seed).permutation(3000)[:m]
        found = cur.retrieve(items, scores[100:, items], 10, mu=mu)
        return reference.recall(found.ids, truth)

    assert recall(100, 0) < recall(50, 0) - 0.1
    by_default = [recall(m, None) for m in (50, 75, 100, 125, 200)]
    assert all(later > earlier - 0.02 for earlier, later in itertools.pairwise(by_default))
    assert by_default[2] > recall(100, 0) + 0.2


# ---------------------------------------------------------------- passes and storage


def test_retrieve_is_the_top_of_approximate():
    scores = low_rank(noise=1.0, items=1500)
    cur = wb.CurIndex.fit(scores[:60])
    items = cur.select_anchors(30)
    all_scores = cur.approximate(items, scores[60:, items])
    for k in (1, 10, 1500):
        hits = cur.retrieve(items, scores[60:, items], k)
        np.testing.assert_array_equal(hits.ids, top(all_scores, k))
        np.testing.assert_array_equal(hits.scores, np.take_along_axis(all_scores, hits.ids, axis=1))
        one = cur.retrieve(items, scores[60, items], k)
        np.testing.assert_array_equal(one.ids, hits.ids[0])
        np.testing.assert_array_equal(one.scores, hits.scores[0])


@pytest.mark.parametrize("storage", ["f32", "f16", "int8"])
def test_many_queries_at_once_equal_one_after_another(storage):
    scores = low_rank(queries=500, items=1100, noise=1.0)
    cur = wb.CurIndex.fit(scores[:61], storage=storage)
    items = np.arange(25)
    many = cur.retrieve(items, scores[61:, items], 7, exclude_scored=True)
    for q in (0, 1, 191, 192, 438):
        one = cur.retrieve(items, scores[61 + q, items], 7, exclude_scored=True)
        np.testing.assert_array_equal(many.ids[q], one.ids)
        np.testing.assert_array_equal(many.scores[q], one.scores)
    assert not np.isin(many.ids, items).any()


def test_many_queries_tell_apart_what_products_cannot():
    scores = low_rank(queries=100, items=3000, noise=1.0)
    scores[:, 1500:] = scores[:, :1500] * (1 + 1e-7)  # twins, up to the last bits
    scores = (scores + 300).astype(np.float32)
    cur = wb.CurIndex.fit(scores[:60])
    items = np.arange(0, 1500, 50)
    expected = top(cur.approximate(items, scores[60:, items]), 15)
    np.testing.assert_array_equal(cur.retrieve(items, scores[60:, items], 15).ids, expected)


def test_more_results_than_items_are_padded():
    cur = wb.CurIndex.fit(EXAMPLE)
    hits = cur.retrieve([0, 1], [0, 3], 6, exclude_scored=True)
    assert sorted(hits.ids[:2]) == [2, 3]
    assert hits.ids[2:].tolist() == [-1] * 4
    assert np.all(np.isneginf(hits.scores[2:]))


def test_equal_predictions_are_ordered_by_id():
    scores = np.repeat(low_rank(items=40), 20, axis=1)
    cur = wb.CurIndex.fit(scores[:60])
    for q in (slice(60, 61), slice(60, 70)):
        ids = np.atleast_2d(cur.retrieve([0, 400, 790], scores[q][:, [0, 400, 790]], 60).ids)
        assert all(np.all(np.diff(row.reshape(3, 20), axis=1) == 1) for row in ids)


def test_no_scored_items_give_the_means():
    scores = low_rank()
    cur = wb.CurIndex.fit(scores)
    none = np.empty((0,))
    np.testing.assert_allclose(cur.approximate([], none), scores.mean(axis=0), atol=1e-5)
    assert cur.retrieve([], none, 5).ids.tolist() == top(cur.item_means, 5).tolist()


def test_half_storage_is_close_and_half_as_large():
    scores = low_rank(noise=1.0, queries=128, items=2000)
    single, half = (wb.CurIndex.fit(scores[:96], storage=s) for s in ("f32", "f16"))
    items = np.arange(50)
    one, two = (c.approximate(items, scores[100, items], mu=3.0) for c in (single, half))
    assert 0 < np.abs(one - two).max() < 0.02
    assert half.memory_usage() < 0.55 * single.memory_usage()
    assert (single.storage, half.storage) == ("f32", "f16")


def test_int8_storage_is_near_and_a_quarter_as_large():
    scores = low_rank(noise=1.0, queries=160, items=2000)
    scores[:, 5] = scores[:, 5].mean()  # a row of zeros
    single, small = (wb.CurIndex.fit(scores[:128], storage=s) for s in ("f32", "int8"))
    items = np.arange(50)
    one, two = (c.approximate(items, scores[130:, items], mu=3.0) for c in (single, small))
    assert 0 < np.sqrt(np.mean((one - two) ** 2)) < 0.02 * np.sqrt(np.mean((one - one.mean(axis=0)) ** 2))
    assert small.memory_usage() < 0.3 * single.memory_usage()
    assert small.storage == "int8"
    small.add_items(scores[:128, :3])
    found = small.approximate(items, scores[130, items], mu=3.0)
    np.testing.assert_array_equal(found[2000:], found[:3])


def test_a_rank_keeps_the_leading_directions():
    scores = low_rank(noise=0.05)
    cur = wb.CurIndex.fit(scores[:60], rank=6)
    assert (cur.dim, cur.rank, cur.n_queries) == (6, 6, 60)
    centered = scores[:60] - scores[:60].mean(axis=0)
    expected = np.linalg.svd(centered, compute_uv=False)
    np.testing.assert_allclose(cur.singular_values(), expected[:6], rtol=1e-4)
    np.testing.assert_allclose(wb.CurIndex.fit(scores[:60]).singular_values(), expected, rtol=1e-3, atol=1e-2)
    items = cur.select_anchors(12)
    found = cur.approximate(items, scores[60:, items])
    assert np.sqrt(np.mean((found - scores[60:]) ** 2)) < 0.2


def test_a_full_rank_changes_nothing():
    scores = low_rank(noise=1.0)
    items = np.arange(40)
    full, rotated = wb.CurIndex.fit(scores[:60]), wb.CurIndex.fit(scores[:60], rank=60)
    expected = full.approximate(items, scores[60, items], mu=2.0)
    np.testing.assert_allclose(rotated.approximate(items, scores[60, items], mu=2.0), expected, atol=1e-4)


def test_a_first_stage_that_is_right_leaves_nothing_to_learn():
    scores = low_rank(noise=1.0)
    first = 3 * scores - 7
    cur = wb.CurIndex.fit(scores[:60], first_stage=first[:60])
    assert cur.has_first_stage
    found = cur.approximate([], np.empty((20, 0)), first_stage=first[60:])
    np.testing.assert_allclose(found, scores[60:], atol=1e-3)


def test_a_first_stage_of_the_query_alone_is_weighed_by_the_scored_items():
    scores = low_rank(noise=1.0)
    cur = wb.CurIndex.fit(scores[:60])
    items = np.arange(40)
    residual = scores[60] - scores[:60].mean(axis=0)
    found = cur.approximate(items, scores[60, items], first_stage=residual * 5, mu=1e-6)
    plain = cur.approximate(items, scores[60, items], mu=1e-6)
    assert np.abs(found - scores[60]).max() < 0.5 * np.abs(plain - scores[60]).max()


def alike(seed=0, noise=0.3):
    """Scores and a first stage of the same factors of the queries, but of other ones of the items."""
    rng = np.random.default_rng(seed)
    queries = rng.standard_normal((110, 6))
    scores = queries @ rng.standard_normal((6, 800)) + rng.standard_normal(800)
    first = queries @ rng.standard_normal((6, 800)) + noise * rng.standard_normal(scores.shape)
    return scores + noise * rng.standard_normal(scores.shape), first


@pytest.mark.parametrize("options", [{}, {"rank": 20}, {"storage": "int8"}, {"intercept": True}], ids=str)
def test_anchor_queries_that_the_first_stage_finds_alike_lend_their_scores(options):
    scores, first = alike()
    cur = wb.CurIndex.fit(scores[:90], first_stage=first[:90], **options)
    known = np.arange(0, 800, 100)
    for items in (np.array([], int), known):
        found = cur.approximate(items, scores[90:, items], first_stage=first[90:])
        rest = np.setdiff1d(np.arange(800), items)
        left = np.mean((found - scores[90:])[:, rest] ** 2)
        assert left < 0.1 * np.mean((scores[90:] - scores[:90].mean(axis=0)) ** 2)


def test_a_first_stage_of_noise_is_not_believed():
    scores, _ = alike()
    first = np.random.default_rng(1).standard_normal(scores.shape)
    items = np.arange(0, 800, 20)

    def error(first):
        cur = wb.CurIndex.fit(scores[:90], first_stage=None if first is None else first[:90])
        found = cur.approximate(items, scores[90:, items], first_stage=None if first is None else first[90:])
        return np.mean((found - scores[90:]) ** 2)

    assert error(first) < 1.25 * error(None)


def test_all_of_the_weight_on_the_prior_is_what_the_first_stage_says():
    scores, first = alike()
    cur = wb.CurIndex.fit(scores[:90], first_stage=first[:90])
    items = np.arange(50)
    found = cur.approximate(items, scores[90:, items], first_stage=first[90:], mu=1e12)
    expected = cur.approximate([], np.empty((20, 0)), first_stage=first[90:])
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_added_queries_lend_their_scores_too():
    scores, first = alike()
    cur = wb.CurIndex.fit(scores[:60], first_stage=first[:60])
    cur.add_queries(scores[60:90], first_stage=first[60:90])
    whole = wb.CurIndex.fit(scores[:90], first_stage=first[:90])
    none = np.empty((20, 0))
    grown, expected = (c.approximate([], none, first_stage=first[90:]) for c in (cur, whole))
    assert np.mean((grown - expected) ** 2) < 0.02 * np.mean((expected - expected.mean(axis=0)) ** 2)
    loaded = wb.CurIndex.loads(cur.dumps())
    np.testing.assert_array_equal(loaded.approximate([], none, first_stage=first[90:]), grown)


# ---------------------------------------------------------------- anchors


@pytest.mark.parametrize("storage", ["f32", "f16"])
def test_greedy_anchors_are_those_of_the_naive_form(storage):
    scores = np.random.default_rng(6).integers(-9, 10, (12, 80)).astype(float)
    cur = wb.CurIndex.fit(scores, center=False, storage=storage)
    assert cur.select_anchors(10).tolist() == reference.l2_greedy(scores.T, 10)[0]


@pytest.mark.parametrize("rule", ["random", "top", "kmeans", "leverage", "l2_greedy"])
@pytest.mark.parametrize("count", [1, 17, 299, 300, 500])
def test_anchors_are_distinct_and_never_removed_ones(rule, count):
    cur = wb.CurIndex.fit(low_rank(noise=0.5))
    cur.remove(np.arange(0, 300, 7))
    chosen = cur.select_anchors(count, rule, seed=3)
    assert len(chosen) == min(count, 300 - 43)
    assert len(set(chosen.tolist())) == len(chosen)
    assert not np.any(chosen % 7 == 0)
    for threads in (1, 2, 5):
        np.testing.assert_array_equal(cur.select_anchors(count, rule, seed=3, threads=threads), chosen)


def test_top_anchors_have_the_highest_means():
    scores = low_rank()
    cur = wb.CurIndex.fit(scores)
    assert cur.select_anchors(9, "top").tolist() == top(cur.item_means, 9).tolist()


def test_seeds_change_random_anchors():
    cur = wb.CurIndex.fit(low_rank(noise=0.5))
    for rule in ("random", "leverage"):
        a, b = (cur.select_anchors(20, rule, seed=s).tolist() for s in (0, 1))
        assert a != b


def test_leverage_prefers_items_that_stand_out():
    scores = np.random.default_rng(7).standard_normal((40, 1000)) * 0.01
    scores[:, :20] += np.random.default_rng(8).standard_normal((40, 20)) * 10
    cur = wb.CurIndex.fit(scores)
    assert np.sum(cur.select_anchors(20, "leverage") < 20) >= 15


def test_kmeans_anchors_come_from_every_cluster():
    rng = np.random.default_rng(9)
    scores = np.repeat(rng.standard_normal((30, 10)) * 20, 50, axis=1) + rng.standard_normal((30, 500))
    cur = wb.CurIndex.fit(scores)
    assert len(set((cur.select_anchors(20, "kmeans") // 50).tolist())) == 10


def test_greedy_anchors_predict_better_than_random_ones():
    scores = noisy_test_bed(3)
    cur = wb.CurIndex.fit(scores[:100])

    def error(items):
        return np.mean((cur.approximate(items, scores[100:, items]) - scores[100:]) ** 2)

    greedy = error(cur.select_anchors(40))
    assert greedy < np.mean([error(cur.select_anchors(40, "random", seed=s)) for s in range(3)])


# ---------------------------------------------------------------- changes, threads


@pytest.mark.parametrize("first", [False, True])
def test_added_items_are_as_if_they_had_been_there(first):
    scores = low_rank(noise=0.5, items=700)
    prior = scores + np.random.default_rng(1).standard_normal(scores.shape)
    whole = wb.CurIndex.fit(scores[:60], first_stage=prior[:60] if first else None)
    grown = wb.CurIndex.fit(scores[:60, :650], first_stage=prior[:60, :650] if first else None)
    for part in (slice(650, 651), slice(651, 700)):
        grown.add_items(scores[:60, part], first_stage=prior[:60, part] if first else None)
    grown.add_items(np.empty((60, 0)), first_stage=np.empty((60, 0)) if first else None)
    assert len(grown) == 700
    items = np.arange(0, 700, 13)
    queries = prior[60:] if first else None
    one, two = (c.approximate(items, scores[60:, items], first_stage=queries, mu=1.0) for c in (whole, grown))
    if first:  # how much the first stage explains was settled by the first fit
        np.testing.assert_allclose(two, one, atol=0.15)
    else:
        np.testing.assert_array_equal(two, one)


def test_added_queries_are_as_if_they_had_been_there():
    scores = low_rank(noise=0.5)
    prior = scores + np.random.default_rng(1).standard_normal(scores.shape)
    for center in (True, False):
        whole, grown = (wb.CurIndex.fit(scores[:q], center=center) for q in (60, 45))
        grown.add_queries(scores[45:60])
        grown.add_queries(np.empty((0, 300)))
        assert (grown.n_queries, grown.dim) == (60, 60)
        items = np.arange(40)
        one, two = (c.approximate(items, scores[60:, items], mu=1.0) for c in (whole, grown))
        np.testing.assert_allclose(two, one, atol=1e-4)
        np.testing.assert_allclose(grown.item_means, whole.item_means, atol=1e-6)
    grown = wb.CurIndex.fit(scores[:45], first_stage=prior[:45])
    grown.add_queries(scores[45:60], first_stage=prior[45:60])
    found = grown.approximate(items, scores[60:, items], first_stage=prior[60:], mu=1.0)
    whole = wb.CurIndex.fit(scores[:60], first_stage=prior[:60])
    expected = whole.approximate(items, scores[60:, items], first_stage=prior[60:], mu=1.0)
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_removed_items_are_never_found():
    scores = low_rank(noise=0.5)
    cur = wb.CurIndex.fit(scores[:60])
    items = np.arange(20)
    before = cur.retrieve(items, scores[60:, items], 10)
    gone = np.unique(before.ids)[:50]
    cur.remove(gone)
    cur.remove(gone[:3])
    after = cur.retrieve(items, scores[60:, items], 10)
    assert not np.isin(after.ids, gone).any()
    assert (len(cur), cur.n_removed) == (300, 50)
    full = cur.approximate(items, scores[60:, items])
    full[:, gone] = -np.inf
    np.testing.assert_array_equal(after.ids, top(full, 10))


@pytest.mark.parametrize("storage", ["f32", "f16", "int8"])
@pytest.mark.parametrize("rank", [None, 16])
def test_threads_change_no_bit(storage, rank):
    scores = low_rank(noise=0.5, queries=150, items=5000)
    items = np.arange(0, 5000, 100)
    results = []
    for threads in (1, 2, 3):
        cur = wb.CurIndex.fit(scores[:100], storage=storage, rank=rank, threads=threads)
        hits = cur.retrieve(items, scores[100:, items], 20, threads=threads)
        one = cur.approximate(items, scores[100, items], threads=threads)
        lent = wb.CurIndex.fit(
            scores[:100], first_stage=scores[:100] ** 3, storage=storage, rank=rank, threads=threads
        )
        parts = (cur.dumps(), lent.dumps(), hits.ids.tobytes(), hits.scores.tobytes(), one.tobytes())
        results.append(parts)
    assert results[0] == results[1] == results[2]


def test_instruction_sets_change_no_bit(run_python):
    program = """
import hashlib, numpy as np, whimbrel as wb
rng = np.random.default_rng(0)
scores = (rng.standard_normal((70, 5)) @ rng.standard_normal((5, 3000)) + rng.standard_normal((70, 3000)))
digest = hashlib.sha256()
for storage in ("f32", "f16", "int8"):
    cur = wb.CurIndex.fit(scores[:50], storage=storage)
    items = cur.select_anchors(30)
    digest.update(cur.approximate(items, scores[50:, items]).tobytes())
    for array in cur.retrieve(items, scores[50:, items], 10):
        digest.update(array.tobytes())
    lent = wb.CurIndex.fit(scores[:50], first_stage=scores[:50] ** 3, storage=storage)
    digest.update(lent.approximate(items, scores[50, items], first_stage=scores[50] ** 3).tobytes())
    hits = wb.cur_search(cur, lambda ids: scores[60, ids], budget=100)
    digest.update(hits.ids.tobytes() + hits.scores.tobytes())
print(digest.hexdigest())
"""
    digests = {run_python(program, isa=isa) for isa in wb.available_isas()}
    assert len(digests) == 1


def test_a_callback_hears_of_a_fit_and_can_end_it():
    scores = np.random.default_rng(0).random((60, 20_000), dtype=np.float32)
    reports = []
    cur = wb.CurIndex.fit(scores, progress=lambda done, total: reports.append((done, total)))
    assert reports == sorted(reports)
    assert reports[-1] == (20_000, 20_000)
    with pytest.raises(wb.CancelledError):
        wb.CurIndex.fit(scores, progress=lambda done, total: False)
    with pytest.raises(wb.CancelledError):
        cur.select_anchors(20, progress=lambda done, total: False)


def test_searches_from_several_threads_agree_while_others_change_the_index():
    scores = low_rank(noise=0.5, items=600)
    cur = wb.CurIndex.fit(scores[:60, :500])
    items = np.arange(40)
    expected = cur.retrieve(items, scores[60, items], 500).ids

    def search(_):
        return cur.retrieve(items, scores[60, items], 500).ids

    def approximate():
        with contextlib.suppress(ValueError):  # the index may grow after the result was made for it
            return len(cur.approximate(items, scores[60, items])) >= 500
        return True

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(search, range(20)))
        growing = [pool.submit(cur.add_items, scores[:60, 500 + i : 501 + i]) for i in range(100)]
        assert all(approximate() for _ in range(50))
        for future in growing:
            future.result()
    for ids in found:
        np.testing.assert_array_equal(ids, expected)
    assert len(cur) == 600
