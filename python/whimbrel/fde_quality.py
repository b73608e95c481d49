"""How well encodings stand for Chamfer scores, measured on a sample; the choice of parameters by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ._arrays import Float32, Float64, Int64
from ._ragged import Ragged

if TYPE_CHECKING:
    from .fde import FdeEncoder

__all__ = ["FdeDiagnostics", "chamfer", "diagnose", "suggest"]

MOST_DOCUMENTS, MOST_QUERIES, QUERY_TOKENS = 200, 50, 32
BITS = (2, 3, 4, 5, 6)
WIDTHS = (8, 16, 32, 64)


class FdeDiagnostics(NamedTuple):
    """What `FdeEncoder.diagnostics` found.

    Attributes
    ----------
    occupancy : (r_reps, 2**k_sim) float64
        Share of the sample's tokens in each cell; 1 / 2**k_sim everywhere would be even.
    effective_cells : float
        Number of equally full cells that would be as uneven, mean over the repetitions:
        ``exp`` of the entropy of `occupancy`. Far below 2**k_sim says that tokens crowd: try `center`.
    empty_share : float
        Mean share of a document's cells that hold none of its tokens.
    correlation : float
        Pearson correlation of scores with exact Chamfer scores, over pairs of a document's head as query and
        another document; NaN where all scores are equal.
    ratio : float
        Mean score / r_reps as a share of the mean Chamfer score.
    """

    occupancy: Float64
    effective_cells: float
    empty_share: float
    correlation: float
    ratio: float


def chamfer(queries: Ragged, documents: Ragged) -> Float64:
    """Exact scores ``sum_q max_p <q, p>``, (queries, documents); 0 for a document without tokens."""
    scores = np.zeros((len(queries.offsets) - 1, len(documents.offsets) - 1))
    starts, ends = documents.offsets[:-1], documents.offsets[1:]
    full = np.flatnonzero(ends > starts)
    if full.size == 0:
        return scores
    for i in range(len(scores)):
        query = queries.tokens[queries.offsets[i] : queries.offsets[i + 1]].astype(np.float64)
        products = query @ documents.tokens.T.astype(np.float64)
        scores[i, full] = np.maximum.reduceat(products, starts[full], axis=1).sum(axis=0)
    return scores


def diagnose(encoder: FdeEncoder, sample: Ragged) -> FdeDiagnostics:
    """See `FdeEncoder.diagnostics`."""
    _check(sample)
    n_cells = 2**encoder.k_sim
    cells = encoder.partitions(sample.tokens)
    occupancy = np.stack([np.bincount(row, minlength=n_cells) for row in cells]) / cells.shape[1]
    logs = np.log(np.where(occupancy > 0, occupancy, 1))
    filled = [
        len(np.unique(row[a:b])) / n_cells
        for row in cells
        for a, b in zip(sample.offsets[:-1], sample.offsets[1:], strict=True)
        if b > a
    ]
    documents, queries, others = _split(sample)
    exact = chamfer(queries, documents)
    scores = _scores(encoder, queries, documents)
    total = float(exact[others].sum())
    return FdeDiagnostics(
        occupancy,
        float(np.exp(-(occupancy * logs).sum(axis=1)).mean()),
        1 - float(np.mean(filled)),
        _correlation(scores[others], exact[others]),
        float(scores[others].sum()) / total if total != 0 else float("nan"),
    )


def suggest(kind: type[FdeEncoder], sample: Ragged, length: int, seed: int) -> FdeEncoder:
    """See `FdeEncoder.suggest`."""
    _check(sample)
    documents, queries, others = _split(sample)
    exact = chamfer(queries, documents)[others]
    dim, best, best_correlation = sample.tokens.shape[1], None, -np.inf
    for k_sim in BITS:
        for width in WIDTHS:
            r_reps = min(length // (2**k_sim * width), 2**16)
            if r_reps == 0 or (width > dim and width != WIDTHS[0]):
                continue
            encoder = kind(dim, k_sim, r_reps, width if width < dim else None, seed=seed)
            if encoder.dim_out > length:
                continue
            found = _correlation(_scores(encoder, queries, documents)[others], exact)
            if best is None or found > best_correlation:
                best, best_correlation = encoder, found if np.isfinite(found) else -np.inf
    assert best is not None  # the smallest has 32 coordinates
    return best


def _check(sample: Ragged) -> None:
    sizes = np.diff(sample.offsets)
    if sample.offsets[0] != 0 or sample.offsets[-1] != len(sample.tokens) or (sizes < 0).any():
        raise ValueError("sample: expected offsets from 0 to the number of tokens that never fall")
    if np.count_nonzero(sizes) < 2:
        raise ValueError(f"sample: expected at least 2 documents with tokens, got {np.count_nonzero(sizes)}")
    if not np.isfinite(sample.tokens).all():
        raise ValueError("sample: expected finite values, got NaN or infinity")


def _split(sample: Ragged) -> tuple[Ragged, Ragged, tuple[Int64, Int64]]:
    """Documents, the heads of some of them as queries, and the pairs of a query and another document."""
    kept = np.flatnonzero(np.diff(sample.offsets) > 0)
    kept = kept[np.linspace(0, len(kept) - 1, min(len(kept), MOST_DOCUMENTS)).astype(np.int64)]
    asked = np.linspace(0, len(kept) - 1, min(len(kept), MOST_QUERIES)).astype(np.int64)
    documents = _take(sample, kept, None)
    queries = _take(sample, kept[asked], QUERY_TOKENS)
    others = np.nonzero(asked[:, None] != np.arange(len(kept)))
    return documents, queries, (others[0], others[1])


def _take(sample: Ragged, which: Int64, most: int | None) -> Ragged:
    parts = [sample.tokens[sample.offsets[i] : sample.offsets[i + 1]][:most] for i in which]
    return Ragged(np.concatenate(parts), np.cumsum([0, *map(len, parts)], dtype=np.int64))


def _scores(encoder: FdeEncoder, queries: Ragged, documents: Ragged) -> Float32:
    encoded = encoder.encode_queries(queries) @ encoder.encode_documents(documents).T
    scores: Float32 = encoded / np.float32(encoder.r_reps)
    return scores


def _correlation(a: Float32, b: Float64) -> float:
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a.astype(np.float64), b)[0, 1])
