"""Score matrices of expensive scorers, each with a cheap first stage, to try cross-encoder search on."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .data import read_arrays
from .dataset import DataError

TOKENS = "multivec/minilm_nfcorpus_f16.npz"
SCORES = Path(__file__).parent / "scores" / "scifact_cross_encoder.npz"  # bench/cross_encoder.py made it
MIN_QUERIES, MIN_ITEMS = 6, 100  # of a matrix of scores: splits, and the best 100


@dataclass(frozen=True)
class Bed:
    """Scores (queries, items) of a scorer that is no dot product, and a first stage's on the same pairs."""

    name: str
    scores: NDArray[np.float32]
    first_stage: NDArray[np.float32]
    n_anchors: int  # anchor queries of a split
    n_tests: int  # test queries of a split

    def split(self, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of the anchor queries and of the test queries; none is in both."""
        order = np.random.default_rng(seed).permutation(len(self.scores))
        return order[: self.n_anchors], order[self.n_anchors : self.n_anchors + self.n_tests]


def synthetic() -> Bed:
    """Bilinear scores of rank 64 with a decaying spectrum, a small network on top, item means, and noise.

    The first stage is a dual encoder that sees noisy embeddings.
    """
    rng = np.random.default_rng(0)
    n_queries, n_items, rank, width = 700, 4000, 64, 32
    decay = 1 / np.sqrt(1 + np.arange(rank))
    queries, items = rng.standard_normal((n_queries, rank)), rng.standard_normal((n_items, rank)) * decay
    bilinear = queries @ items.T
    into = rng.standard_normal((2 * rank, width)) / np.sqrt(2 * rank)
    out = rng.standard_normal(width) / np.sqrt(width)
    from_query, from_item = queries @ into[:rank], items @ into[rank:]
    network = np.zeros_like(bilinear)
    for j in range(width):
        network += out[j] * np.tanh(2 * (from_query[:, j, None] + from_item[None, :, j]))
    noise = 0.3 * bilinear.std() * rng.standard_normal(bilinear.shape)
    scores = bilinear + network + noise + 0.3 * rng.standard_normal(n_items) - 8
    blurred = items + 0.7 * decay * rng.standard_normal(items.shape)
    first = (queries + 0.7 * rng.standard_normal(queries.shape)) @ blurred.T
    return Bed("synthetic", scores.astype(np.float32), first.astype(np.float32), 500, 40)


def maxsim(folder: Path) -> Bed:
    """Exact MaxSim over token embeddings; the first stage is the cosine of mean token vectors."""
    path = folder / TOKENS
    if not path.exists():
        raise DataError(f"{path} is not there")
    with np.load(path) as file:
        tokens, offsets = file["doc_tokens"].astype(np.float32), file["doc_offsets"]
        query_tokens, query_offsets = file["query_tokens"].astype(np.float32), file["query_offsets"]
    n_items = len(offsets) - 1
    scores = np.empty((len(query_offsets) - 1, n_items), np.float32)
    for begin in range(0, n_items, 256):
        end = min(n_items, begin + 256)
        products = query_tokens @ tokens[offsets[begin] : offsets[end]].T
        best = np.maximum.reduceat(products, offsets[begin:end] - offsets[begin], axis=1)
        scores[:, begin:end] = np.add.reduceat(best, query_offsets[:-1], axis=0)
    means, query_means = (
        np.add.reduceat(t, o[:-1], axis=0) for t, o in ((tokens, offsets), (query_tokens, query_offsets))
    )
    for rows in (means, query_means):
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return Bed("maxsim-nfcorpus", scores, query_means @ means.T, 200, 60)


def cross_encoder(folder: Path, path: Path = SCORES) -> Bed:
    """Logits of a real cross-encoder; the first stage is BM25.

    `path` holds scores (q, n), query_ids and item_ids. Its name, up to a "_", is that of the collection in
    `folder`/text that these are of.
    """
    scores, *ids = read_arrays(path, "scores", "query_ids", "item_ids")
    query_ids, item_ids = (list(map(str, part)) for part in ids)
    if scores.shape != (len(query_ids), len(item_ids)) or scores.dtype.kind != "f":
        expected = f"floats of shape ({len(query_ids)}, {len(item_ids)}), as many as ids"
        raise DataError(f"{path}: scores: expected {expected}, got {scores.dtype} {scores.shape}")
    if len(query_ids) < MIN_QUERIES or len(item_ids) < MIN_ITEMS:
        least = f"at least {MIN_QUERIES} queries and {MIN_ITEMS} items"
        raise DataError(f"{path}: expected {least}, got {len(query_ids)} and {len(item_ids)}")
    if not np.isfinite(scores).all():
        raise DataError(f"{path}: scores: expected finite values")
    texts = folder / "text" / path.stem.split("_")[0]
    first = bm25(_texts(texts / "queries.jsonl.gz", query_ids), _texts(texts / "corpus.jsonl.gz", item_ids))
    n_anchors = min(500, 2 * len(scores) // 3)
    name, n_tests = "cross-encoder", min(60, len(scores) - n_anchors)
    return Bed(name, scores.astype(np.float32), first, n_anchors, n_tests)


def _texts(path: Path, ids: list[str]) -> list[str]:
    """Title and text of those with these ids."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; a matrix is named after the collection it is of")
    with gzip.open(path, "rt") as file:
        rows = list(map(json.loads, file))
    known = {row["_id"]: f"{row.get('title', '')} {row['text']}" for row in rows}
    missing = next((name for name in ids if name not in known), None)
    if missing is not None:
        raise DataError(f"{path}: expected a text for every id of the matrix, got none for {missing!r}")
    return [known[name] for name in ids]


def bm25(queries: list[str], items: list[str], k1: float = 0.9, b: float = 0.4) -> NDArray[np.float32]:
    """Scores of all pairs (Robertson and Zaragoza, "The probabilistic relevance framework", 2009)."""
    counts = [Counter(re.findall(r"[a-z0-9]+", item.lower())) for item in items]
    lengths = np.array([sum(count.values()) for count in counts])
    norm = k1 * (1 - b + b * lengths / lengths.mean())
    postings: dict[str, list[tuple[int, int]]] = {}
    for i, count in enumerate(counts):
        for word, n in count.items():
            postings.setdefault(word, []).append((i, n))
    scores = np.zeros((len(queries), len(items)), np.float32)
    for row, query in zip(scores, queries, strict=True):
        for word in set(re.findall(r"[a-z0-9]+", query.lower())) & postings.keys():
            found, n = np.array(postings[word]).T
            idf = np.log(1 + (len(items) - len(found) + 0.5) / (len(found) + 0.5))
            row[found] += idf * n * (k1 + 1) / (n + norm[found])
    return scores


def load(name: str, folder: Path | None, scores: Path = SCORES) -> Bed:
    """Make or read a bed by its name; `scores` is the matrix of "cross-encoder"."""
    if name == "synthetic":
        return synthetic()
    if folder is None:
        raise DataError(f"{name} needs --data")
    return cross_encoder(folder, scores) if name == "cross-encoder" else maxsim(folder)


NAMES = ("synthetic", "maxsim-nfcorpus", "cross-encoder")


def available(folder: Path | None) -> tuple[str, ...]:
    """Beds that can be made."""
    return NAMES[:1] if folder is None else NAMES
