"""``whimbrel demo``: the main job on real data that every machine has, the documentation of its Python."""

from __future__ import annotations

import platform
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from . import __version__, active_isa
from ._arrays import Float32, Int64
from .demo_embedding import TextEmbedding
from .demo_passages import Passage, harvest
from .exact import knn
from .hnsw import HnswIndex
from .lid import distance_to_mean
from .lid_report import lid_report
from .order import insertion_order, named_order

__all__ = ["headline", "run_demo", "step"]

DIM = 128
K = 10
EF = (10, 20, 40, 80)
HELD_OUT = 30  # every 30th passage is a query and not in the index
MIN_PASSAGES = 100
QUESTIONS = (
    "read the lines of a text file",
    "wait until a thread has finished",
    "convert a date and time to a string",
)


def run_demo(limit: int, threads: int) -> None:
    """Harvest, embed, report the LID, build in four orders, compare them, and search.

    Parameters
    ----------
    limit : int
        At most so many passages.
    threads : int
        0 uses all. Does not change the results.
    """
    if limit < MIN_PASSAGES:
        raise ValueError(f"passages: expected at least {MIN_PASSAGES}, got {limit}")
    print(f"whimbrel {__version__}, kernels for {active_isa()}, Python {platform.python_version()}")

    with step("1. Passages: documentation strings of the standard library and installed packages"):
        passages = harvest(limit)
        texts = [f"{p.name} {p.text}" for p in passages]
        embedding = TextEmbedding(texts, DIM)
        vectors = embedding(texts)
        known = np.any(vectors != 0, axis=1)
        passages = [p for p, has_words in zip(passages, known, strict=True) if has_words]
        vectors = vectors[known]
        print(f"   {len(passages):,} passages; TF-IDF of {embedding.n_words:,} words, truncated SVD")
        print(f"   to {vectors.shape[1]} dimensions, cosine distance")

    held_out = np.arange(len(vectors)) % HELD_OUT == HELD_OUT - 1
    base, queries = vectors[~held_out], vectors[held_out]
    base_passages = [p for p, out in zip(passages, held_out, strict=True) if not out]
    with step("2. Local intrinsic dimensionality (LID)"):
        report = lid_report(base, metric="cosine", threads=threads)
        print(textwrap.indent(str(report), "   "))

    with step(f"3. The same graph in four orders of insertion, {len(queries)} queries"):
        orders = {
            "random": named_order(base, "random"),
            "LID descending": insertion_order(report.lid),
            "LID ascending": insertion_order(report.lid, descending=False),
            "mean distance descending": insertion_order(distance_to_mean(base, threads=threads)),
        }
        index = _compare_orders(base, queries, orders, threads)

    with step("4. Searches, on the graph in random order"):
        for question in QUESTIONS:
            print(f"   {question!r}")
            hits = index.search(embedding([question])[0], k=3)
            for i, distance in zip(*hits, strict=True):
                print(f"     {distance:.3f}  {headline(base_passages[i])}")


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print a title, and at the end the time."""
    print(f"\n{title}", flush=True)
    start = time.perf_counter()
    yield
    print(f"   ({time.perf_counter() - start:.1f} s)", flush=True)


def _compare_orders(base: Float32, queries: Float32, orders: dict[str, Int64], threads: int) -> HnswIndex:
    """Print recall against cost, one row per order; return the first index."""
    truth = knn(base, queries, K, "cosine", threads=threads).ids
    print(f"   recall@{K} at mean distance computations per query:")
    print(f"   {'':<25} {'build':>6} {'degree':>6}  " + " ".join(f"{f'ef {ef}':>12}" for ef in EF))
    indexes = []
    for name, order in orders.items():
        index = HnswIndex.build(base, metric="cosine", order=order, threads=threads)
        cells = []
        for ef in EF:
            hits, counts = index.search_with_counts(queries, K, ef_search=ef, threads=threads)
            found = sum(len(np.intersect1d(a, b)) for a, b in zip(hits.ids, truth, strict=True))
            cells.append(f"{found / truth.size:.3f} @{counts.distances.mean():5.0f}")
        stats = index.stats
        print(f"   {name:<25} {stats.build_seconds:4.1f} s {stats.mean_degree:6.1f}  " + " ".join(cells))
        indexes.append(index)
    return indexes[0]


def headline(passage: Passage) -> str:
    """Give the name and the first line, cut to fit."""
    line = passage.text.split("\n")[0]
    return f"{textwrap.shorten(passage.name, 44):<44}  {textwrap.shorten(line, 44, placeholder=' ...')}"
