"""cur_search and CurSearch: the ledger, the budget, the rules, and what an error leaves behind."""

import numpy as np
import pytest
import reference
import whimbrel as wb


@pytest.fixture(scope="module")
def bed():
    """Scores of 100 anchor queries and 20 test queries for 1,200 items, and an index of the former."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((24, 1200)) / np.sqrt(1 + np.arange(24))[:, None]
    scores = rng.standard_normal((120, 24)) @ weights + rng.standard_normal(1200)
    scores = (scores + 0.2 * rng.standard_normal(scores.shape)).astype(np.float32)
    return scores[100:], wb.CurIndex.fit(scores[:100])


class Counter:
    """A scorer that refuses an item it was asked before."""

    def __init__(self, scores):
        self.scores, self.asked, self.rounds = scores, [], []

    def __call__(self, items):
        assert items.dtype == np.int64
        assert not np.isin(items, self.asked).any()
        self.asked += items.tolist()
        self.rounds.append(len(items))
        return self.scores[items]


def truth(scores, k):
    return np.lexsort((np.arange(len(scores)), -scores))[:k]


OPTIONS = (
    {},
    {"rounds": 1},
    {"rounds": 7},
    {"rounds": 1, "split": 0.5},
    {"rounds": 4, "split": 0.7},
    {"rule": "softmax", "temperature": 0.5},
    {"rule": "uncertainty"},
    {"start": np.arange(30)},
    {"start": [5, 5, 3, 5, 3]},
    {"mu": 0.0},
)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("budget", [1, 3, 10, 57, 200])
def test_calls_stay_within_the_budget_and_no_item_is_scored_twice(bed, options, budget):
    scores, cur = bed
    counter = Counter(scores[0])
    hits = wb.cur_search(cur, counter, k=10, budget=budget, **options)
    assert hits.calls == len(counter.asked) == budget
    assert len(hits.ids) == min(10, budget)
    np.testing.assert_array_equal(hits.scores, scores[0][hits.ids])
    asked = np.array(counter.asked)
    np.testing.assert_array_equal(hits.ids, best_of(scores[0], asked))
    assert 0 <= hits.estimated_recall <= 1
    assert hits.algebra_seconds > 0
    assert hits.scorer_seconds >= 0


def best_of(scores, asked, k=10):
    ids = np.sort(asked)
    return ids[np.argsort(-scores[ids], kind="stable")[:k]]


def test_rounds_are_nearly_equal_and_larger_ones_come_first(bed):
    scores, cur = bed
    for budget, rounds, split, expected in (
        (57, 5, 1.0, [12, 12, 11, 11, 11]),
        (3, 10, 1.0, [1, 1, 1]),
        (100, 3, 0.7, [24, 23, 23, 30]),
        (1, 1, 0.01, [1]),
    ):
        counter = Counter(scores[0])
        wb.cur_search(cur, counter, budget=budget, rounds=rounds, split=split)
        assert counter.rounds == expected


@pytest.mark.parametrize("budget", [1200, 1201, 10**6])
def test_a_budget_for_all_items_is_an_exact_search(bed, budget):
    scores, cur = bed
    hits = wb.cur_search(cur, Counter(scores[1]), k=25, budget=budget)
    np.testing.assert_array_equal(hits.ids, truth(scores[1], 25))
    assert hits.calls == 1200
    assert hits.estimated_recall == 1


def test_fewer_items_than_anchors_or_results():
    scores = np.random.default_rng(0).random((50, 4)).astype(np.float32)
    cur = wb.CurIndex.fit(scores)
    hits = wb.cur_search(cur, lambda ids: scores[0, ids], k=10, budget=100)
    np.testing.assert_array_equal(hits.ids, truth(scores[0], 4))
    few = wb.cur_search(cur, lambda ids: scores[0, ids], k=10, budget=3)
    assert len(few.ids) == few.calls == 3


def test_one_round_and_half_the_budget_is_anncur(bed):
    scores, cur = bed
    anchors = cur.select_anchors(50)
    hits = wb.cur_search(
        cur, lambda ids: scores[2, ids], budget=100, rounds=1, split=0.5, start=anchors, mu=1.0
    )
    rest = cur.retrieve(anchors, scores[2, anchors], 50, exclude_scored=True, mu=1.0).ids
    np.testing.assert_array_equal(hits.ids, best_of(scores[2], np.r_[anchors, rest]))


def test_one_round_of_candidates_is_retrieve_and_rerank(bed):
    scores, cur = bed
    first = scores[3] + np.random.default_rng(1).standard_normal(1200)
    expected = best_of(scores[3], np.argsort(-first, kind="stable")[:80])
    for options in ({"start": np.argsort(-first, kind="stable")}, {"first_stage": first}):
        hits = wb.cur_search(cur, lambda ids: scores[3, ids], budget=80, rounds=1, **options)
        np.testing.assert_array_equal(hits.ids, expected)


def test_rounds_equal_a_solution_from_scratch(bed):
    """20 rounds, each decided by the factor as it has grown by then."""
    scores, cur = bed
    anchors = np.arange(10)
    search = wb.CurSearch(cur, k=10, budget=200, rounds=20, start=anchors, mu=2.0)
    asked = []
    while len(items := search.next_items()) > 0:
        if asked:
            predicted = cur.approximate(asked, scores[4, asked], mu=2.0)
            predicted[asked] = -np.inf
            np.testing.assert_array_equal(np.sort(items), np.sort(np.argsort(-predicted, kind="stable")[:10]))
        asked += items.tolist()
        search.observe(scores[4, items])
    assert len(asked) == 200


def test_rounds_find_more_than_one(bed):
    scores, cur = bed

    def recall(**options):
        found = [
            wb.cur_search(cur, lambda ids, q=q: scores[q, ids], budget=100, **options).ids for q in range(20)
        ]
        return reference.recall(found, np.array([truth(s, 10) for s in scores]))

    assert recall(rounds=1) < 0.2  # random items
    assert recall(rounds=2) > 0.6
    assert recall(rounds=10) > 0.85
    assert recall(rounds=10, rule="softmax", temperature=0.1) > 0.8
    assert recall(rounds=10, rule="uncertainty", kappa=0.5) > 0.85


def test_recall_does_not_fall_with_the_budget_of_a_nested_run(bed):
    scores, cur = bed
    for q in range(5):
        last = 0.0
        for rounds in range(1, 11):  # rounds of 20, from the same start
            hits = wb.cur_search(cur, lambda ids, q=q: scores[q, ids], budget=20 * rounds, rounds=rounds)
            recall = len(np.intersect1d(hits.ids, truth(scores[q], 10))) / 10
            assert recall >= last
            last = recall


def test_top_k_is_deterministic_and_softmax_depends_on_the_seed_alone(bed):
    scores, cur = bed

    def asked(**options):
        counter = Counter(scores[5])
        wb.cur_search(cur, counter, budget=60, rounds=3, start=np.arange(20), **options)
        return counter.asked

    assert asked() == asked(seed=9) == asked(threads=1)
    assert asked(rule="softmax", temperature=0) == asked()
    assert asked(rule="softmax", temperature=1e-7) == asked()
    assert asked(rule="uncertainty", kappa=0) == asked()
    one, two = asked(rule="softmax", seed=1), asked(rule="softmax", seed=2)
    assert one == asked(rule="softmax", seed=1, threads=3)
    assert one != two
    assert len(set(one)) == 60


def test_softmax_samples_without_replacement_by_the_exponential_of_predictions():
    """One draw among four items of known predictions, over many seeds."""
    predictions = np.array([0.0, 1.0, 2.0, 3.0, -9.0])
    cur = wb.CurIndex.fit(np.stack([predictions, predictions]))
    counts = np.zeros(5)
    for seed in range(2000):
        search = wb.CurSearch(cur, budget=2, rounds=2, start=[4], rule="softmax", seed=seed)
        search.observe([-9.0] if search.next_items().tolist() == [4] else [])
        counts[search.next_items()[0]] += 1
    expected = np.exp(predictions[:4]) / np.exp(predictions[:4]).sum()
    np.testing.assert_allclose(counts[:4] / 2000, expected, atol=0.04)


def test_uncertainty_prefers_what_is_not_known_yet():
    """Two items of equal prediction; one is like an item that was scored."""
    scores = np.array([[1.0, 1.0, 0.0, 0.0], [-1.0, -1.0, 0.0, 0.0], [0, 0, 0, 1.0], [0, 0, 0, -1.0]])
    cur = wb.CurIndex.fit(scores)
    search = wb.CurSearch(cur, budget=2, rounds=2, start=[0], rule="uncertainty", mu=0.01)
    search.observe(np.zeros(len(search.next_items())))
    assert search.next_items().tolist() == [3]
    plain = wb.CurSearch(cur, budget=2, rounds=2, start=[0], mu=0.01)
    plain.observe(np.zeros(len(plain.next_items())))
    assert plain.next_items().tolist() == [1]


def test_ties_go_to_the_smaller_item(bed):
    _, cur = bed
    hits = wb.cur_search(cur, lambda ids: np.zeros(len(ids)), k=5, budget=1200)
    assert hits.ids.tolist() == [0, 1, 2, 3, 4]


def test_removed_items_are_never_scored(bed):
    scores, _ = bed
    cur = wb.CurIndex.fit(scores)
    cur.remove(np.arange(0, 1200, 2))
    for options in ({}, {"start": np.arange(40)}, {"first_stage": scores[1]}):
        counter = Counter(scores[0])
        hits = wb.cur_search(cur, counter, budget=100, **options)
        assert np.all(np.array(counter.asked) % 2 == 1)
        assert hits.calls == 100
    counter = Counter(scores[0])
    assert wb.cur_search(cur, counter, budget=2000).calls == 600


def test_degenerate_matrices_have_a_result():
    rng = np.random.default_rng(3)
    twin_items = np.repeat(rng.random((30, 50)), 4, axis=1)
    for scores in (
        np.ones((20, 200)),  # constant
        np.zeros((20, 200)),
        np.repeat(rng.random((1, 200)), 20, axis=0),  # duplicate queries
        twin_items,
        rng.random((30, 1)) * rng.random((1, 200)),  # rank 1
        rng.random((1, 200)),  # one query
        1e6 * rng.random((20, 200)) - 5e5,
    ):
        for mu in (None, 0.0):
            for options in ({}, {"rule": "uncertainty"}, {"rule": "softmax"}):
                cur = wb.CurIndex.fit(scores)
                query = scores[0] + np.arange(200) * 1e-3
                hits = wb.cur_search(cur, Counter(query), budget=100, mu=mu, **options)
                assert hits.calls == 100
                assert len(hits.ids) == 10
                assert np.isfinite(cur.approximate(np.arange(60), query[:60], mu=mu)).all()


# ---------------------------------------------------------------- errors


def test_a_score_that_is_not_finite_names_its_item_and_changes_nothing(bed):
    scores, cur = bed
    search = wb.CurSearch(cur, budget=40, rounds=4)
    search.observe(scores[0][search.next_items()])
    items = search.next_items()
    for bad in (np.nan, np.inf, -np.inf):
        answer = scores[0][items].copy()
        answer[3] = bad
        with pytest.raises(ValueError, match=rf"scores: expected finite values, got .* for item {items[3]}"):
            search.observe(answer)
        assert search.calls == 10
        np.testing.assert_array_equal(search.next_items(), items)
    answered = search.run(lambda ids: scores[0][ids])
    assert (
        answered.ids.tolist()
        == wb.cur_search(cur, lambda ids: scores[0][ids], budget=40, rounds=4).ids.tolist()
    )


def test_another_number_of_scores_is_an_error_and_changes_nothing(bed):
    scores, cur = bed
    search = wb.CurSearch(cur, budget=40, rounds=4)
    items = search.next_items()
    for wrong in (scores[0][items][:-1], np.zeros(11), np.zeros((10, 1)), []):
        with pytest.raises(ValueError, match="scores: expected"):
            search.observe(wrong)
    with pytest.raises(ValueError, match="scores: expected 10 values, got 9"):
        wb.cur_search(cur, lambda ids: scores[0][ids[1:]], budget=40, rounds=4)
    assert search.calls == 0
    assert search.run(lambda ids: scores[0][ids]).calls == 40


def test_a_scorer_that_raises_loses_no_call(bed):
    scores, cur = bed
    search = wb.CurSearch(cur, budget=60, rounds=6)
    counter = Counter(scores[0])

    def fails_in_the_third_round(items):
        if len(counter.asked) == 20:
            raise RuntimeError("no more memory")
        return counter(items)

    with pytest.raises(RuntimeError, match="no more memory"):
        search.run(fails_in_the_third_round)
    assert search.calls == 20
    np.testing.assert_array_equal(search.ledger[0], counter.asked)
    assert search.run(counter).calls == 60  # and no item was asked for twice
    expected = wb.cur_search(cur, lambda ids: scores[0][ids], budget=60, rounds=6)
    np.testing.assert_array_equal(search.result().ids, expected.ids)


@pytest.mark.parametrize("options", [{}, {"split": 0.5}, {"rounds": 1}, {"rule": "uncertainty"}], ids=str)
def test_a_graph_of_the_items_finds_what_passes_find(bed, options):
    scores, cur = bed
    vectors = cur.item_vectors()
    assert vectors.shape == (1200, 101)
    np.testing.assert_allclose(vectors[:, 100], cur.item_means - cur.item_means.mean(), atol=1e-5)
    graph = wb.HnswIndex.build(vectors, metric="ip", ef_construction=100)
    found = []
    for query in scores[:10]:
        counter = Counter(query)
        hits = wb.cur_search(cur, counter, 10, 60, graph=graph, **options)
        expected = wb.cur_search(cur, lambda items, query=query: query[items], 10, 60, **options)
        assert hits.calls == len(counter.asked) == 60
        assert 0 < hits.estimated_recall <= 1
        found.append(len(np.intersect1d(hits.ids, expected.ids)))
    assert np.mean(found) >= 9.5


def test_a_graph_must_be_of_the_index(bed):
    _, cur = bed
    vectors = cur.item_vectors()[:50]
    for graph in (wb.HnswIndex.build(vectors), wb.HnswIndex.build(vectors[:, :9].copy(), metric="ip")):
        with pytest.raises(ValueError, match="graph: expected metric 'ip' and dimension 101"):
            wb.CurSearch(cur, graph=graph)
    graph = wb.HnswIndex.build(vectors, metric="ip")
    with pytest.raises(ValueError, match="graph: expected no first_stage beside it"):
        wb.CurSearch(cur, graph=graph, first_stage=np.zeros(1200))
    hits = wb.CurSearch(cur, 10, 80, rounds=3, graph=graph).run(lambda items: np.sin(items))
    assert hits.calls == 80  # where the graph has no more, passes go on


def test_an_index_that_changes_ends_its_searches(bed):
    scores, _ = bed
    cur = wb.CurIndex.fit(scores)
    search = wb.CurSearch(cur, budget=40)
    items = search.next_items()
    cur.add_items(scores[:, :3])
    with pytest.raises(ValueError, match="index: expected no change during a search"):
        search.observe(scores[0][items])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"k": 0}, r"k: expected 1\.\."),
        ({"budget": 0}, r"budget: expected 1\.\."),
        ({"rounds": 0}, r"rounds: expected 1\.\."),
        ({"split": 0.0}, "split: expected above 0"),
        ({"split": 1.5}, "split: expected above 0"),
        ({"split": np.nan}, "split: expected a finite number"),
        ({"rule": "best"}, "rule: expected 'top_k', 'softmax' or 'uncertainty'"),
        ({"temperature": -1.0}, "temperature: expected"),
        ({"kappa": -1.0}, "kappa: expected"),
        ({"mu": -1.0}, "mu: expected a finite number of at least 0"),
        ({"mu": np.inf}, "mu: expected a finite number of at least 0"),
        ({"seed": -1}, "seed: expected"),
        ({"first_stage": np.zeros(7)}, r"first_stage: expected shape \(1200,\), got \(7,\)"),
        ({"first_stage": np.full(1200, np.nan)}, "first_stage: expected finite"),
    ],
)
def test_search_parameters_out_of_range_are_value_errors(bed, options, text):
    scores, cur = bed
    with pytest.raises(ValueError, match=text):
        wb.cur_search(cur, lambda ids: scores[0][ids], **options)


def test_start_items_must_exist(bed):
    _, cur = bed
    for start in ([-1], [1200]):
        with pytest.raises(IndexError, match=r"start: expected items from 0 to 1199, got"):
            wb.CurSearch(cur, start=start)
    with pytest.raises(TypeError, match="start: expected integers"):
        wb.CurSearch(cur, start=[0.5])


def test_an_index_with_a_first_stage_needs_one(bed):
    scores, _ = bed
    cur = wb.CurIndex.fit(scores, first_stage=scores + 1)
    with pytest.raises(ValueError, match="first_stage: expected scores of all items"):
        wb.CurSearch(cur)
    with pytest.raises(ValueError, match="first_stage: expected scores of all items"):
        cur.approximate([0], [1.0])
    with pytest.raises(ValueError, match="first_stage: expected none"):
        wb.CurIndex.fit(scores).add_items(scores[:, :2], first_stage=scores[:, :2])


FINITE = np.random.default_rng(0).random((6, 9)).astype(np.float32)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: wb.CurIndex.fit(np.empty((0, 5))),
            "anchor_scores: expected at least one query and one item",
        ),
        (
            lambda: wb.CurIndex.fit(np.empty((5, 0))),
            "anchor_scores: expected at least one query and one item",
        ),
        (lambda: wb.CurIndex.fit([1.0, 2.0]), r"anchor_scores: expected shape \(q, n\), got \(2,\)"),
        (lambda: wb.CurIndex.fit(np.where(FINITE > 0.5, np.nan, 0)), "anchor_scores: expected finite values"),
        (
            lambda: wb.CurIndex.fit(FINITE, first_stage=FINITE[1:]),
            r"first_stage: expected shape \(6, 9\), got \(5, 9\)",
        ),
        (lambda: wb.CurIndex.fit(FINITE, first_stage=FINITE * np.inf), "first_stage: expected finite values"),
        (
            lambda: wb.CurIndex.fit(FINITE, storage="f64"),
            "storage: expected 'f32', 'f16' or 'int8', got 'f64'",
        ),
        (lambda: wb.CurIndex.fit(FINITE, rank=7), r"rank: expected 1\.\.6, got 7"),
        (
            lambda: wb.CurIndex.fit(FINITE * 1e6, storage="f16"),
            r"anchor_scores: expected .*65504.* for item \d",
        ),
        (
            lambda: wb.CurIndex.fit(FINITE).approximate([0, 0], [1, 1]),
            "item_ids: expected each once, got 0 twice",
        ),
        (
            lambda: wb.CurIndex.fit(FINITE).approximate([0], [1, 1]),
            r"scores: expected shape \(1, 1\), got \(1, 2\)",
        ),
        (lambda: wb.CurIndex.fit(FINITE).approximate([0], [np.nan]), "scores: expected finite values"),
        (
            lambda: wb.CurIndex.fit(FINITE).approximate([0], [1], mu=-2),
            "mu: expected a finite number of at least 0",
        ),
        (lambda: wb.CurIndex.fit(FINITE).retrieve([0], [1], 0), r"k: expected 1\.\."),
        (lambda: wb.CurIndex.fit(FINITE).select_anchors(0), r"count: expected 1\.\."),
        (lambda: wb.CurIndex.fit(FINITE).select_anchors(2, "best"), "rule: expected 'random', 'top'"),
        (
            lambda: wb.CurIndex.fit(FINITE).add_items(FINITE[1:]),
            r"scores: expected shape \(6, 9\), got \(5, 9\)",
        ),
        (
            lambda: wb.CurIndex.fit(FINITE).add_queries(FINITE[:, 1:]),
            r"scores: expected shape \(6, 9\), got \(6, 8\)",
        ),
        (lambda: wb.CurIndex.fit(FINITE, rank=2).add_queries(FINITE), "scores: expected no anchor queries"),
    ],
)
def test_bad_input_of_an_index_is_a_value_error(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_items_that_do_not_exist_are_index_errors():
    cur = wb.CurIndex.fit(FINITE)
    for call in (
        lambda: cur.approximate([9], [1]),
        lambda: cur.approximate([-1], [1]),
        lambda: cur.remove([0, 9]),
        lambda: cur.retrieve([3, 12], [1, 1]),
    ):
        with pytest.raises(IndexError, match="item_ids: expected 0 to 8, got"):
            call()
    assert cur.n_removed == 0


def test_a_failed_change_leaves_the_index_as_it_was():
    cur = wb.CurIndex.fit(FINITE, storage="f16")
    before = cur.dumps()
    for call in (
        lambda: cur.add_items(FINITE * 1e7),
        lambda: cur.add_items(FINITE * np.nan),
        lambda: cur.add_queries(FINITE * 1e7),
        lambda: cur.add_queries(FINITE * np.nan),
    ):
        with pytest.raises(ValueError, match="expected"):
            call()
        assert cur.dumps() == before
