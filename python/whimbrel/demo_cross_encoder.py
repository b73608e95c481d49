"""``whimbrel demo --task cross-encoder``: the documentation searched with a scorer that reads pairs.

The scorer is `WordScorer`, or with a name of a model a ``CrossEncoder`` of sentence-transformers. Summaries
of some passages are the queries; the first stage is the cosine of the demo's embedding.
"""

from __future__ import annotations

import importlib
import platform
import textwrap
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from . import __version__, active_isa
from ._arrays import Float32, Int64
from .cur_diagnostics import cur_diagnostics
from .cur_retriever import CurRetriever
from .demo import MIN_PASSAGES, QUESTIONS, headline, step
from .demo_embedding import TextEmbedding
from .demo_passages import harvest
from .demo_scorer import WordScorer
from .scorers import PairScorer

__all__ = ["run_cross_encoder_demo"]

K = 10
MOST_PASSAGES = 3000  # all of them are scored for every anchor query
N_ANCHORS, N_TESTS = 150, 20
MODEL_ANCHORS, MODEL_TESTS, MODEL_PASSAGES = 40, 5, 300  # a model takes milliseconds for a pair
BUDGETS = (50, 100, 200, 500)


def run_cross_encoder_demo(limit: int, threads: int, model: str | None = None) -> None:
    """Score anchor queries, look whether it will work, compare searches by budget, and show some.

    Parameters
    ----------
    limit : int
        At most so many passages, and never more than some thousands.
    threads : int
        0 uses all. Does not change the results.
    model : str, optional
        Name or folder of a CrossEncoder.
    """
    if limit < MIN_PASSAGES:
        raise ValueError(f"passages: expected at least {MIN_PASSAGES}, got {limit}")
    print(f"whimbrel {__version__}, kernels for {active_isa()}, Python {platform.python_version()}")
    n_anchors, n_tests, most = (
        (N_ANCHORS, N_TESTS, MOST_PASSAGES) if model is None else (MODEL_ANCHORS, MODEL_TESTS, MODEL_PASSAGES)
    )

    with step("1. Passages and queries: documentation strings, and the first lines of some"):
        passages = harvest(min(limit, most))
        texts = [f"{p.name} {p.text}" for p in passages]
        embedding = TextEmbedding(texts)
        vectors = embedding(texts)
        predict = WordScorer(texts).predict if model is None else _cross_encoder(model)
        with_text = [p.text.split("\n")[0] for p in passages if len(p.text.split("\n")[0].split()) >= 4]
        chosen = np.random.default_rng(0).permutation(len(with_text))[: n_anchors + n_tests]
        n_tests = min(n_tests, len(chosen) // 3)
        anchors, tests = [with_text[i] for i in chosen[n_tests:]], [with_text[i] for i in chosen[:n_tests]]
        print(
            f"   {len(texts):,} passages, {len(anchors)} anchor queries, {len(tests)} queries to search for"
        )

    def first_stage(query: str) -> Float32:
        return np.asarray(vectors @ embedding([query])[0], np.float32)

    with step("2. Scores of all passages for the anchor queries"):
        everything = np.arange(len(texts), dtype=np.int64)
        scores = np.array(PairScorer(predict, texts).score_many([(q, everything) for q in anchors]))
        retriever = CurRetriever(predict, texts, first_stage=first_stage)
        retriever.fit(anchors, anchor_scores=scores, threads=threads)
        print(f"   {scores.size:,} calls of the scorer; {retriever.cur!r}")
        firsts = np.array([first_stage(query) for query in anchors])
        report = cur_diagnostics(scores, first_stage=firsts, k=K, budgets=BUDGETS[:2])
        print(textwrap.indent(textwrap.fill(report.advice, 76), "   "))

    with step(f"3. Share of the true best {K} that is found, by calls of the scorer"):
        _compare(retriever, PairScorer(predict, texts), tests, first_stage, threads)

    with step("4. Searches with 100 calls"):
        for question in QUESTIONS:
            print(f"   {question!r}")
            hits = retriever.search(question, 3, 100, threads=threads)
            for i, score in zip(hits.ids, hits.scores, strict=True):
                print(f"     {score:6.2f}  {headline(passages[i])}")


def _compare(
    retriever: CurRetriever,
    scorer: PairScorer,
    queries: list[str],
    first_stage: Callable[[str], Float32],
    threads: int,
) -> None:
    everything = np.arange(len(retriever.cur), dtype=np.int64)
    budgets = [budget for budget in BUDGETS if budget < len(everything)]
    found: dict[str, list[list[float]]] = {}
    seconds = 0.0
    for query in queries:
        (truth,) = scorer.score_many([(query, everything)])
        ranked = np.argsort(-first_stage(query), kind="stable")
        start = time.perf_counter()
        ours = [retriever.search(query, K, budget, threads=threads).ids for budget in budgets]
        seconds += time.perf_counter() - start
        rows = {
            "random": [everything[:: len(everything) // budget][:budget] for budget in budgets],
            "first stage, re-ranked": [ranked[:budget] for budget in budgets],
            "whimbrel": ours,
        }
        for name, items in rows.items():
            found.setdefault(name, []).append([_recall(truth, some) for some in items])
    print(f"   {'':<24}" + " ".join(f"{budget:>6}" for budget in budgets))
    for name, values in found.items():
        print(f"   {name:<24}" + " ".join(f"{value:6.3f}" for value in np.mean(values, axis=0)))
    print(f"   {1e3 * seconds / (len(queries) * max(1, len(budgets))):.0f} ms per search, scorer included")


def _recall(truth: Float32, items: Int64) -> float:
    """By the k-th score and not by ids: among equal scores any item is right."""
    k = min(K, len(truth))
    return min(1.0, float(np.sum(truth[items] >= np.sort(truth)[-k])) / k)


def _cross_encoder(name: str) -> Any:
    try:
        models = importlib.import_module("sentence_transformers")
    except ModuleNotFoundError as error:
        raise ImportError(
            "--model: expected sentence-transformers; pip install 'whimbrel[models]'"
        ) from error
    return models.CrossEncoder(name).predict
