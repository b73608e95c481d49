"""Ball carving: a query with fewer tokens, whose MaxSim is nearly the same, for re-ranking."""

from __future__ import annotations

from . import _core
from ._arrays import Float32, as_threads
from ._ragged import Ragged, RaggedLike, as_ragged_or_one

__all__ = ["ball_carving"]


def ball_carving(queries: RaggedLike, threshold: float = 0.7, *, threads: int = 0) -> Float32 | Ragged:
    """Replace groups of similar query tokens by their sums [1]_.

    The first token that is in no group yet starts one, which takes all others in none whose inner product
    with it is at least `threshold`.

    Parameters
    ----------
    queries : (t, d) array_like of float32, or sets of them
        One query, or several in any form that `maxsim` takes.
    threshold : float
        For tokens of unit length: above 1 nothing changes, at -1 everything is one group. The paper uses 0.7.
    threads : int
        Worker threads; 0 uses all. Does not change the result.

    Returns
    -------
    (g, d) float32 for one query, else a named tuple ``(tokens, offsets)``, which `maxsim_matrix` takes

    Raises
    ------
    ValueError
        Wrong shapes, bad offsets, values that are not finite, or a threshold that is NaN.

    Notes
    -----
    MaxSim of the result is at most that of the query, since a group of tokens has to share one token of the
    document. With ``normalize=True`` it is divided by the number of groups.

    References
    ----------
    .. [1] Jayaram et al., "MUVERA", arXiv 2405.19504, section 3.2.

    Examples
    --------
    >>> import whimbrel as wb
    >>> wb.ball_carving([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]])
    array([[1.8, 0.6],
           [0. , 1. ]], dtype=float32)
    """
    ragged, single = as_ragged_or_one("queries", queries)
    carved = Ragged(*_core.ball_carving(*ragged, float(threshold), as_threads(threads)))
    return carved.tokens if single else carved
