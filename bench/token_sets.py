"""Sets of token vectors, as late-interaction models make them, for the benches of encodings and MaxSim.

All tokens are float32 and have unit length, so that a peer that normalizes them scores the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data import read_arrays
from .dataset import DataError, Float32, Int64, unit_rows


@dataclass(frozen=True)
class TokenSet:
    """Documents and queries; set i is `tokens[offsets[i]:offsets[i + 1]]`."""

    name: str
    tokens: Float32
    offsets: Int64
    query_tokens: Float32
    query_offsets: Int64

    def documents(self) -> list[Float32]:
        """One array (t, d) each."""
        return split(self.tokens, self.offsets)

    def queries(self) -> list[Float32]:
        """One array (t, d) each."""
        return split(self.query_tokens, self.query_offsets)

    def facts(self) -> dict[str, Any]:
        """What a result row says about its data."""
        return {
            "dataset": self.name,
            "documents": len(self.offsets) - 1,
            "tokens": len(self.tokens),
            "dim": self.tokens.shape[1],
            "queries": len(self.query_offsets) - 1,
            "query_tokens": len(self.query_tokens),
        }


def split(tokens: Float32, offsets: Int64) -> list[Float32]:
    """The sets as arrays of their own; views."""
    return np.split(tokens, offsets[1:-1])


@cache
def topics() -> TokenSet:
    """Documents of 20 to 120 tokens on three of 200 topics each; queries of 8 tokens on those of one."""
    rng = np.random.default_rng(3)
    dim, n, n_queries = 128, 2_000, 200
    centers = rng.standard_normal((200, dim))
    lengths = rng.integers(20, 121, n)
    own = rng.integers(0, len(centers), (n, 3))
    chosen = [own[i][rng.integers(0, 3, length)] for i, length in enumerate(lengths)]
    asked = [own[i][rng.integers(0, 3, 8)] for i in rng.choice(n, n_queries, replace=False)]

    def tokens(which: Sequence[NDArray[np.int64]]) -> Float32:
        rows = np.concatenate(which)
        return unit_rows((centers[rows] + rng.standard_normal((len(rows), dim))).astype(np.float32))

    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return TokenSet("topics", tokens(chosen), offsets, tokens(asked), np.arange(n_queries + 1) * 8)


def nfcorpus(folder: Path) -> TokenSet:
    """Abstracts of nfcorpus and its questions: token states of all-MiniLM-L6-v2 in 128 dimensions."""
    names = ("doc_tokens", "doc_offsets", "query_tokens", "query_offsets")
    tokens, offsets, query_tokens, query_offsets = read_arrays(
        folder / "multivec" / "minilm_nfcorpus_f16.npz", *names
    )
    return TokenSet(
        "nfcorpus",
        unit_rows(tokens.astype(np.float32)),
        offsets.astype(np.int64),
        unit_rows(query_tokens.astype(np.float32)),
        query_offsets.astype(np.int64),
    )


NAMES = ("nfcorpus", "topics")


def known_name(name: str) -> str:
    """The name of a set; for argparse."""
    if name not in NAMES:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(NAMES)}, got {name!r}")
    return name


def load(name: str, folder: Path | None, n: int | None, queries: int) -> TokenSet:
    """Read or generate a set, and take its first `n` documents and its first queries."""
    if name == "nfcorpus" and folder is None:
        raise DataError(f"dataset: {name} is read from a folder of real sets; name it with --data")
    full = topics() if folder is None or name == "topics" else nfcorpus(folder)
    return TokenSet(
        full.name,
        *_first(full.tokens, full.offsets, n),
        *_first(full.query_tokens, full.query_offsets, queries),
    )


def _first(tokens: Float32, offsets: Int64, n: int | None) -> tuple[Float32, Int64]:
    kept = offsets if n is None else offsets[: n + 1]
    return tokens[: kept[-1]], kept


def exact_scores(data: TokenSet) -> NDArray[np.float64]:
    """MaxSim of every query with every document in float64; (queries, documents)."""
    tokens = data.tokens.astype(np.float64)
    starts = data.offsets[:-1]
    rows = [
        np.maximum.reduceat(query.astype(np.float64) @ tokens.T, starts, axis=1).sum(axis=0)
        for query in data.queries()
    ]
    return np.stack(rows)


def best(scores: NDArray[Any], k: int) -> Int64:
    """Numbers of the documents with the largest scores, ties by number; (queries, k)."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int64)
