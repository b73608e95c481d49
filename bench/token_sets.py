"""Sets of token vectors for the benches: judged ones from the folder `--data`, or generated ones."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.data import DataError

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
Sets = tuple[Float32, Int64]  # tokens, offsets
DIM = 128


class TokenSets(NamedTuple):
    """Documents, queries, and grades of documents by query (empty where nobody judged)."""

    name: str
    documents: Sets
    queries: Sets
    grades: list[dict[int, int]]


def load(folder: Path | None) -> TokenSets:
    """Token states of MiniLM for nfcorpus, 128 dimensions; without a folder, random tokens around topics."""
    return _generated() if folder is None else _nfcorpus(folder)


def part(sets: Sets, rows: Int64) -> Sets:
    """Some of the sets."""
    tokens, offsets = sets
    parts = [tokens[offsets[i] : offsets[i + 1]] for i in rows]
    return np.concatenate(parts), np.cumsum([0, *map(len, parts)])


def _nfcorpus(folder: Path) -> TokenSets:
    path = folder / "multivec" / "minilm_nfcorpus_f16.npz"
    if not path.exists():
        raise DataError(f"{path}: no such file; without --data a generated set is used")
    with np.load(path) as z:
        documents = z["doc_tokens"].astype(np.float32), z["doc_offsets"].astype(np.int64)
        queries = z["query_tokens"].astype(np.float32), z["query_offsets"].astype(np.int64)
        doc_row = {str(name): i for i, name in enumerate(z["doc_ids"])}
        query_row = {str(name): i for i, name in enumerate(z["query_ids"])}
    grades: dict[int, dict[int, int]] = defaultdict(dict)
    for line in (folder / "text" / "nfcorpus" / "qrels.tsv").read_text().splitlines():
        query, document, grade = line.split("\t")[:3]
        if query in query_row and document in doc_row:
            grades[query_row[query]][doc_row[document]] = int(grade)
    return TokenSets("nfcorpus", documents, queries, [grades[i] for i in range(len(query_row))])


def _generated(n_documents: int = 3000, n_queries: int = 200) -> TokenSets:
    rng = np.random.default_rng(0)
    topics = rng.standard_normal((60, DIM))

    def sets(n: int, low: int, high: int) -> Sets:
        offsets = np.cumsum([0, *rng.integers(low, high, n)])
        lengths = np.diff(offsets)
        rows = np.repeat(
            topics[rng.integers(0, 60, n)] + 0.7 * rng.standard_normal((n, DIM)), lengths, axis=0
        )
        rows += rng.standard_normal(rows.shape)
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), offsets

    return TokenSets("generated", sets(n_documents, 20, 100), sets(n_queries, 4, 16), [{}] * n_queries)
