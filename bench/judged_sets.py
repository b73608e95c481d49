"""Token sets with judgements, as the bench of the multi-vector index takes them: ragged pairs and grades."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench import token_sets
from bench.data import read_arrays
from bench.dataset import Float32, Int64

Sets = tuple[Float32, Int64]  # tokens, offsets
DIM = 128


class JudgedSets(NamedTuple):
    """Documents, queries, and grades of documents by query (empty where nobody judged)."""

    name: str
    documents: Sets
    queries: Sets
    grades: list[dict[int, int]]


def load(folder: Path | None) -> JudgedSets:
    """nfcorpus with its judgements; without a folder, the generated set, which has none."""
    data = token_sets.load("topics" if folder is None else "nfcorpus", folder, None, 2**31)
    grades: list[dict[int, int]] = [{} for _ in range(len(data.query_offsets) - 1)]
    if folder is not None:
        archive = folder / "multivec" / "minilm_nfcorpus_f16.npz"
        documents, queries = (
            {str(name): i for i, name in enumerate(names)}
            for names in read_arrays(archive, "doc_ids", "query_ids")
        )
        for line in (folder / "text" / "nfcorpus" / "qrels.tsv").read_text().splitlines():
            query, document, grade = line.split("\t")[:3]
            if query in queries and document in documents:
                grades[queries[query]][documents[document]] = int(grade)
    return JudgedSets(data.name, (data.tokens, data.offsets), (data.query_tokens, data.query_offsets), grades)


def part(sets: Sets, rows: Int64) -> Sets:
    """Some of the sets."""
    tokens, offsets = sets
    parts = [tokens[offsets[i] : offsets[i + 1]] for i in rows]
    return np.concatenate(parts), np.cumsum([0, *map(len, parts)])
