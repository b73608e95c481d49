"""CurRetriever, its scorers and its checkpoint: every kind of scorer, and no call lost or repeated."""

import os

import numpy as np
import pytest
import whimbrel as wb

N_ITEMS, N_QUERIES = 60, 12
RNG = np.random.default_rng(0)
TABLE = (
    RNG.standard_normal((N_QUERIES + 8, 3)) @ RNG.standard_normal((3, N_ITEMS + 10))
    + 0.1 * RNG.standard_normal((N_QUERIES + 8, N_ITEMS + 10))
).astype(np.float32)
ITEMS = [f"item {i}" for i in range(N_ITEMS)]
ANCHORS = [f"query {q}" for q in range(N_QUERIES)]
QUERIES = [f"query {q}" for q in range(N_QUERIES, N_QUERIES + 8)]


def number(text):
    return int(text.split()[1])


def score(query, item):
    return TABLE[number(query), number(item)]


class Predict:
    """A scorer of pairs of texts that counts and can fail."""

    def __init__(self, fail_at=None, nan_at=None):
        self.pairs, self.batches = [], []
        self.fail_at, self.nan_at = fail_at, nan_at

    def __call__(self, pairs):
        if self.fail_at is not None and len(self.pairs) + len(pairs) > self.fail_at:
            raise RuntimeError("the model failed")
        self.pairs += pairs
        self.batches.append(len(pairs))
        return [np.nan if pair == self.nan_at else score(*pair) for pair in pairs]


def first_stage(query):
    return TABLE[number(query), :N_ITEMS] + 0.3 * np.sin(np.arange(N_ITEMS))


def best(query, k=5):
    return np.argsort(-TABLE[number(query), :N_ITEMS], kind="stable")[:k].tolist()


def test_pairs_are_scored_in_batches_across_queries():
    predict = Predict()
    retriever = wb.CurRetriever(predict, ITEMS, batch_size=50).fit(ANCHORS)
    assert len(predict.pairs) == len(set(predict.pairs)) == N_ITEMS * N_QUERIES
    assert predict.batches == [50] * 14 + [20]
    predict.pairs.clear()
    hits = retriever.search(QUERIES[0], k=5, budget=20, rounds=4)
    assert hits.calls == len(set(predict.pairs)) == len(predict.pairs) == 20
    assert hits.ids.tolist() == best(QUERIES[0])
    np.testing.assert_array_equal(hits.scores, TABLE[N_QUERIES, hits.ids])


def test_every_kind_of_scorer_gives_the_same():
    expected = wb.CurRetriever(Predict(), ITEMS).fit(ANCHORS).search(QUERIES[1], 5, 20)

    async def coroutine(query, ids):
        return TABLE[number(query), ids]

    class Tensor:
        """What a model may return."""

        def __init__(self, values):
            self.values = values

        def detach(self):
            return self

        def float(self):
            return self

        def cpu(self):
            return self

        def numpy(self):
            return self.values

    class Own:
        def score_many(self, requests):
            return [TABLE[number(query), ids] for query, ids in requests]

    for scorer in (
        wb.ItemScorer(lambda query, ids: TABLE[number(query), ids]),
        wb.ItemScorer(lambda query, ids: TABLE[number(query), ids].tolist()),
        wb.AsyncItemScorer(coroutine),
        coroutine,
        Own(),
        wb.PairScorer(Predict(), ITEMS, batch_size=7),
        lambda pairs: np.array([[score(*pair)] for pair in pairs]),  # a column, as some models give
        lambda pairs: (score(*pair) for pair in pairs),  # an iterator
        lambda pairs: Tensor(np.array([score(*pair) for pair in pairs])),
    ):
        hits = wb.CurRetriever(scorer, ITEMS).fit(ANCHORS).search(QUERIES[1], 5, 20)
        np.testing.assert_array_equal(hits.ids, expected.ids)
        np.testing.assert_array_equal(hits.scores, expected.scores)


def test_searches_side_by_side_equal_single_ones_and_share_batches():
    predict = Predict()
    retriever = wb.CurRetriever(predict, ITEMS).fit(ANCHORS)
    single = [retriever.search(query, 5, 21, rounds=3) for query in QUERIES]
    predict.batches.clear()
    many = retriever.search_many(QUERIES, 5, 21, rounds=3)
    assert predict.batches == [7 * len(QUERIES)] * 3
    for one, other in zip(single, many, strict=True):
        np.testing.assert_array_equal(one.ids, other.ids)
        assert one.calls == other.calls == 21
    assert retriever.search_many([], 5, 21) == []


def test_a_first_stage_is_used_from_fit_to_search():
    retriever = wb.CurRetriever(Predict(), ITEMS, first_stage=first_stage).fit(ANCHORS)
    assert retriever.cur.has_first_stage
    hits = retriever.search(QUERIES[2], 5, 10)
    assert len(set(hits.ids.tolist()) & set(best(QUERIES[2]))) >= 4
    for wrong in (lambda query: np.zeros(3), lambda query: np.full(N_ITEMS, np.nan)):
        with pytest.raises(ValueError, match="first_stage: expected"):
            wb.CurRetriever(Predict(), ITEMS, first_stage=wrong).fit(ANCHORS)


def test_items_and_queries_can_be_added_and_items_removed():
    predict = Predict()
    retriever = wb.CurRetriever(predict, ITEMS).fit(ANCHORS)
    predict.pairs.clear()
    retriever.add_items([f"item {i}" for i in range(N_ITEMS, N_ITEMS + 10)])
    assert len(predict.pairs) == 10 * N_QUERIES
    retriever.add_queries([QUERIES[7]])
    assert len(predict.pairs) == 10 * N_QUERIES + N_ITEMS + 10
    whole = wb.CurIndex.fit(TABLE[[*range(N_QUERIES), N_QUERIES + 7]])
    np.testing.assert_allclose(retriever.cur.item_means, whole.item_means, atol=1e-6)
    hits = retriever.search(QUERIES[3], 5, 40)
    expected = np.argsort(-TABLE[N_QUERIES + 3], kind="stable")[:5]
    assert hits.ids.tolist() == expected.tolist()
    retriever.remove(expected[:2])
    assert retriever.search(QUERIES[3], 3, 40).ids.tolist() == expected[2:].tolist()


def test_items_whose_scoring_fails_are_not_added():
    predict = Predict(fail_at=N_ITEMS * N_QUERIES + 5)
    retriever = wb.CurRetriever(predict, ITEMS).fit(ANCHORS)
    before = retriever.cur.dumps()
    with pytest.raises(RuntimeError, match="the model failed"):
        retriever.add_items(["item 60", "item 61"])
    assert retriever.cur.dumps() == before
    predict.fail_at = None
    retriever.add_items(["item 62"])
    assert len(retriever.cur) == N_ITEMS + 1


# ---------------------------------------------------------------- checkpoints


def test_a_fit_goes_on_where_an_error_stopped_it(tmp_path):
    path = tmp_path / "scores"
    first = Predict(fail_at=250)
    with pytest.raises(RuntimeError, match="the model failed"):
        wb.CurRetriever(first, ITEMS, batch_size=25).fit(ANCHORS, checkpoint=path)
    second = Predict()
    retriever = wb.CurRetriever(second, ITEMS, batch_size=25).fit(ANCHORS, checkpoint=path)
    assert len(first.pairs) == 250
    assert len(set(first.pairs + second.pairs)) == len(first.pairs + second.pairs) == N_ITEMS * N_QUERIES
    third = Predict()
    again = wb.CurRetriever(third, ITEMS).fit(ANCHORS, checkpoint=path)
    assert third.pairs == []
    expected = wb.CurIndex.fit(TABLE[:N_QUERIES, :N_ITEMS]).dumps()
    assert again.cur.dumps() == retriever.cur.dumps() == expected


def test_a_fit_goes_on_after_an_interrupt_or_a_cancelled_one(tmp_path):
    path = tmp_path / "scores"

    def interrupt(pairs):
        raise KeyboardInterrupt

    calls = []
    with pytest.raises(wb.CancelledError):
        wb.CurRetriever(Predict(), ITEMS, batch_size=100).fit(
            ANCHORS, checkpoint=path, progress=lambda done, total: calls.append((done, total)) or done < 200
        )
    assert calls == [(100, 720), (200, 720)]
    with pytest.raises(KeyboardInterrupt):
        wb.CurRetriever(interrupt, ITEMS).fit(ANCHORS, checkpoint=path)
    predict = Predict()
    wb.CurRetriever(predict, ITEMS).fit(ANCHORS, checkpoint=path)
    assert len(predict.pairs) == 720 - 200


def test_scores_beside_one_that_is_not_finite_are_kept(tmp_path):
    path = tmp_path / "scores"
    bad = ("query 3", "item 17")
    for kwargs in ({"checkpoint": path}, {}):
        with pytest.raises(
            ValueError, match="scores: expected finite values, got nan for query 'query 3' and item 17"
        ):
            wb.CurRetriever(Predict(nan_at=bad), ITEMS).fit(ANCHORS, **kwargs)
    predict = Predict()
    wb.CurRetriever(predict, ITEMS).fit(ANCHORS, checkpoint=path)
    assert predict.pairs == [bad]


def test_a_search_names_the_pair_of_a_score_that_is_not_finite():
    predict = Predict()
    retriever = wb.CurRetriever(predict, ITEMS).fit(ANCHORS)
    predict.nan_at = (QUERIES[1], f"item {best(QUERIES[1])[0]}")
    with pytest.raises(ValueError, match=rf"got nan for query '{QUERIES[1]}' and item {best(QUERIES[1])[0]}"):
        retriever.search_many(QUERIES[:3], 5, N_ITEMS)


@pytest.mark.parametrize(
    "wrong", [lambda pairs: [0.0], lambda pairs: np.zeros((2, len(pairs))), lambda pairs: 1.0]
)
def test_another_number_of_scores_is_an_error(wrong):
    with pytest.raises(ValueError, match=r"scores: expected 720 of the scorer, got shape"):
        wb.CurRetriever(wrong, ITEMS).fit(ANCHORS)


def test_a_checkpoint_of_something_else_is_an_error_and_stays_as_it_was(tmp_path):
    path = tmp_path / "scores"
    wb.CurRetriever(Predict(), ITEMS).fit(ANCHORS, checkpoint=path)
    whole = path.read_bytes()
    for items, anchors, what in (
        (ITEMS[:-1], ANCHORS, "shape"),
        (ITEMS, ANCHORS[:-1], "shape"),
        ([*ITEMS[:-1], "other 59"], ANCHORS, "items"),
        (ITEMS, [*ANCHORS[1:], ANCHORS[0]], "queries"),
    ):
        with pytest.raises(ValueError, match=f"checkpoint: expected the {what} of this fit"):
            wb.CurRetriever(Predict(), items).fit(anchors, checkpoint=path)
        assert path.read_bytes() == whole


def test_a_damaged_checkpoint_is_a_format_error(tmp_path):
    path = tmp_path / "scores"
    wb.CurRetriever(Predict(), ITEMS).fit(ANCHORS, checkpoint=path)
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:4096], whole[:100], whole + b"0", b"hello", b"[]", b"\x80" * 5000):
        path.write_bytes(damaged)
        with pytest.raises(wb.FormatError, match="checkpoint: expected"):
            wb.CurRetriever(Predict(), ITEMS).fit(ANCHORS, checkpoint=path)
        assert path.read_bytes() == damaged
    with pytest.raises(OSError, match="missing"):
        wb.CurRetriever(Predict(), ITEMS).fit(ANCHORS, checkpoint=os.fspath(tmp_path / "missing" / "scores"))


# ---------------------------------------------------------------- errors


def test_bad_arguments():
    with pytest.raises(TypeError, match="scorer: expected a callable"):
        wb.CurRetriever("model", ITEMS)
    with pytest.raises(ValueError, match=r"batch_size: expected 1\.\."):
        wb.CurRetriever(Predict(), ITEMS, batch_size=0)
    with pytest.raises(
        ValueError, match="anchor_queries, items: expected at least one of each, got 0 and 60"
    ):
        wb.CurRetriever(Predict(), ITEMS).fit([])
    with pytest.raises(
        ValueError, match="anchor_queries, items: expected at least one of each, got 12 and 0"
    ):
        wb.CurRetriever(Predict(), []).fit(ANCHORS)
    with pytest.raises(ValueError, match="retriever: expected fit"):
        wb.CurRetriever(Predict(), ITEMS).search("query 1")


def test_an_async_scorer_that_fails_raises_its_error():
    async def fails(query, ids):
        if number(query) == 3:
            raise RuntimeError("the service failed")
        return TABLE[number(query), ids]

    with pytest.raises(RuntimeError, match="the service failed"):
        wb.CurRetriever(fails, ITEMS).fit(ANCHORS)


# ---------------------------------------------------------------- diagnostics


def test_diagnostics_tell_low_rank_from_noise():
    rng = np.random.default_rng(0)
    low = rng.standard_normal((60, 5)) @ rng.standard_normal((5, 400))
    good = wb.cur_diagnostics(low, budgets=(40, 100))
    assert good.effective_rank <= 5
    assert good.explained > 0.99
    assert good.leave_one_out < 0.02 * low.std()
    assert good.recall == {40: 1.0, 100: 1.0}
    assert good.random_recall == {40: 0.1, 100: 0.25}
    assert good.advice.startswith("the scorer is low-rank enough")
    noise = rng.standard_normal((60, 400))
    bad = wb.cur_diagnostics(noise, budgets=(40, 100))
    assert bad.effective_rank > 30
    assert abs(bad.explained) < 0.2
    assert 0.8 < bad.leave_one_out < 1.3
    assert bad.recall[40] < 0.4
    assert "not low-rank enough" in bad.advice
    helped = wb.cur_diagnostics(
        noise, first_stage=noise + 0.1 * rng.standard_normal((60, 400)), budgets=(40,)
    )
    assert helped.recall[40] > 0.95


def test_diagnostics_of_bad_input():
    with pytest.raises(ValueError, match="anchor_scores: expected at least 5 queries, got 4"):
        wb.cur_diagnostics(np.zeros((4, 10)))
    with pytest.raises(ValueError, match=r"first_stage: expected shape \(9, 10\), got \(9, 9\)"):
        wb.cur_diagnostics(np.zeros((9, 10)), first_stage=np.zeros((9, 9)))
    constant = wb.cur_diagnostics(np.ones((9, 10)))
    assert constant.recall[50] == 1.0


def test_candidates_of_an_index_begin_a_search():
    asked = []
    vectors = np.random.default_rng(0).standard_normal((N_ITEMS, 4)).astype(np.float32)
    index = wb.HnswIndex.build(vectors)

    def candidates(query, count):
        asked.append((query, count))
        return np.append(index.search(vectors[number(query)], 6).ids, -1)

    predict = Predict()
    retriever = wb.CurRetriever(predict, ITEMS, candidates=candidates).fit(ANCHORS)
    predict.pairs.clear()
    hits = retriever.search_many(QUERIES[:2], 5, 20, rounds=4)
    assert asked == [(query, 20) for query in QUERIES[:2]]
    for query in QUERIES[:2]:
        first = [item for q, item in predict.pairs if q == query][:5]
        assert first == [ITEMS[i] for i in index.search(vectors[number(query)], 5).ids]
    assert all(h.calls == 20 for h in hits)


def test_known_scores_cost_no_call():
    known = np.array([TABLE[q, :N_ITEMS] for q in range(N_QUERIES)])
    predict = Predict()
    retriever = wb.CurRetriever(predict, ITEMS).fit(ANCHORS, anchor_scores=known)
    assert predict.pairs == []
    expected = wb.CurRetriever(predict, ITEMS).fit(ANCHORS)
    assert retriever.cur.dumps() == expected.cur.dumps()
    predict.pairs.clear()
    known[3, 7:9] = np.nan
    retriever.fit(ANCHORS, anchor_scores=known)
    assert predict.pairs == [(ANCHORS[3], ITEMS[7]), (ANCHORS[3], ITEMS[8])]
    assert retriever.cur.dumps() == expected.cur.dumps()
    with pytest.raises(ValueError, match=r"anchor_scores: expected shape \(12, 60\), got \(11, 60\)"):
        retriever.fit(ANCHORS, anchor_scores=known[1:])
