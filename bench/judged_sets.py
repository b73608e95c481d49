"""Token sets with judgements, as the bench of the multi-vector index takes them: ragged pairs and grades."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import token_sets
from bench.data import read_arrays
from bench.dataset import Float32, Int64

Sets = tuple[Float32, Int64]  # tokens, offsets
DIM = 128
NAMES = ("nfcorpus", "nanofiqa")
MIN_HALVED = 20


class JudgedSets(NamedTuple):
    """Documents, queries, and grades of documents by query (empty where nobody judged)."""

    name: str
    documents: Sets
    queries: Sets
    grades: list[dict[int, int]]


def load(folder: Path | None, name: str) -> JudgedSets:
    """A set of `folder` with its judgements; without a folder, the generated set, which has none."""
    if folder is None:
        data = token_sets.load("topics", None, None, 2**31)
        grades: list[dict[int, int]] = [{} for _ in data.queries()]
        return JudgedSets(
            data.name, (data.tokens, data.offsets), (data.query_tokens, data.query_offsets), grades
        )
    return {"nfcorpus": _nfcorpus, "nanofiqa": _nanofiqa}[name](folder)


def _nfcorpus(folder: Path) -> JudgedSets:
    """Token states of MiniLM, which was not trained for late interaction."""
    data = token_sets.load("nfcorpus", folder, None, 2**31)
    ids = read_arrays(folder / "multivec" / "minilm_nfcorpus_f16.npz", "doc_ids", "query_ids")
    lines = (folder / "text" / "nfcorpus" / "qrels.tsv").read_text().splitlines()
    judgements = [(query, document, int(grade)) for query, document, grade, *_ in map(_fields, lines[1:])]
    sets = (data.tokens, data.offsets), (data.query_tokens, data.query_offsets)
    return JudgedSets(data.name, *sets, _grades(ids[0], ids[1], judgements))


def _nanofiqa(folder: Path) -> JudgedSets:
    """Tokens of ColBERTv2: 35 documents and 5 queries of 32 tokens."""
    archive = folder / "multivec" / "colbertv2_nanofiqa_f16.npz"
    d_tok, d_ptr, d_id, q_tok, q_ptr, q_id = read_arrays(
        archive, "d_tok", "d_ptr", "d_id", "q_tok", "q_ptr", "q_id"
    )
    judged = json.loads((folder / "multivec" / "colbertv2_nanofiqa_qrels.json").read_text())
    judgements = [(query, document, grade) for query in judged for document, grade in judged[query].items()]
    sets = [
        (tokens.astype(np.float32), pointers.astype(np.int64))
        for tokens, pointers in ((d_tok, d_ptr), (q_tok, q_ptr))
    ]
    return JudgedSets("nanofiqa", sets[0], sets[1], _grades(d_id, q_id, judgements))


def _fields(line: str) -> list[str]:
    return line.split("\t")


def _grades(
    documents: NDArray[Any], queries: NDArray[Any], judgements: Iterable[tuple[str, str, int]]
) -> list[dict[int, int]]:
    """Grades by row; judgements of documents and queries that are not there are left out."""
    rows = {str(name): i for i, name in enumerate(documents)}
    grades: dict[str, dict[int, int]] = {str(name): {} for name in queries}
    for query, document, grade in judgements:
        if query in grades and document in rows:
            grades[query][rows[document]] = grade
    return list(grades.values())


def halves(sets: JudgedSets) -> tuple[Sets, Sets, JudgedSets]:
    """A sample of the queries to fit on, the others, and the sets with these alone; few are all tested."""
    n = len(sets.grades)
    tested = np.arange(1, n, 2) if n >= MIN_HALVED else np.arange(n)
    sample = np.setdiff1d(np.arange(n), tested)
    queries = part(sets.queries, tested)
    return part(sets.queries, sample), queries, sets._replace(grades=[sets.grades[i] for i in tested])


def part(sets: Sets, rows: Int64) -> Sets:
    """Some of the sets."""
    tokens, offsets = sets
    parts = [tokens[offsets[i] : offsets[i + 1]] for i in rows]
    return np.concatenate([tokens[:0], *parts]), np.cumsum([0, *map(len, parts)])
