"""Fixed dimensional encodings (MUVERA): a set of token vectors becomes one, for search by inner product."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _device_sets
from ._arrays import as_choice, as_int, as_matrix, as_threads
from ._fde_parameters import checked_parameters, core_encoder
from ._progress import Progress, reporter
from ._ragged import RaggedLike, as_ragged
from .fde_quality import FdeDiagnostics, diagnose, suggest

__all__ = ["FdeEncoder"]

DTYPES = ("float32", "float16", "int8")


class FdeEncoder:
    """Encode sets of token vectors so that inner products approximate Chamfer (MaxSim) scores.

    In each of `r_reps` repetitions the signs of `k_sim` random projections put every token in one of
    ``2**k_sim`` cells. A query is encoded as the sum of its tokens per cell, a document as their mean, and
    the inner product of the two is about ``r_reps * sum(max(q @ p.T, axis=1))`` [1]_.

    Parameters
    ----------
    dim : int
        Dimension of a token.
    k_sim : int
        Sign bits per repetition, 0..24.
    r_reps : int
        Repetitions; more of them reduce the noise.
    d_proj : int or None
        Coordinates per cell after a random projection; None keeps all `dim`.
    d_final : int, optional
        Length that a count sketch brings the whole encoding to.
    fill_empty : bool or {"token", "mean"}
        What a document's empty cell gets of the tokens whose signs differ least: True or "token" the first of
        them, as in [1]_; "mean" their mean, which finds more, in mode "native" and not on devices; False
        nothing. Empty cells of queries stay zero.
    seed : int
        Decides all random objects. In mode "google" below 2**32.
    mode : {"native", "google"}
        "google": random numbers and order of cells are those of the reference (google/graph-mining) as built
        with libstdc++; encodings agree with its up to the rounding of sums.
    projection : {"count_sketch", "sign", "identity"}, optional
        "count_sketch" (default) adds each coordinate to one of `d_proj` sums with a random sign, as the
        reference does; "sign" is a dense matrix of ``+-1 / sqrt(d_proj)``, as in the paper, and slower. Both
        keep inner products on average, with the same variance. "identity" is the same as ``d_proj=None``.
    center : (dim,) array_like, optional
        Subtracted from tokens before their signs are taken, and for nothing else: spreads tokens that all
        point the same way over more cells.

    Raises
    ------
    ValueError
        A parameter out of range, or ``r_reps * 2**k_sim * d_proj`` beyond 2**28.

    Notes
    -----
    Encodings have the same bits for any number of threads, batch and CPU instruction set. They compare only
    between encoders of one `fingerprint`. Safe to use from several threads; pickles as its parameters.

    References
    ----------
    .. [1] Dhulipala et al., "MUVERA: Multi-vector retrieval via fixed dimensional encodings", 2024, sec. 2.

    Examples
    --------
    >>> import numpy as np
    >>> import whimbrel as wb
    >>> encoder = wb.FdeEncoder(4, k_sim=2, r_reps=10, d_proj=None)
    >>> document = encoder.encode_documents([np.eye(4)[:1]])[0]  # of one token: the score is exact
    >>> query = encoder.encode_queries([[[0.5, 0, 0, 0], [0.25, 1, 0, 0]]])[0]
    >>> document.shape, float(query @ document) / encoder.r_reps
    ((160,), 0.75)
    """

    def __init__(
        self,
        dim: int,
        k_sim: int = 5,
        r_reps: int = 20,
        d_proj: int | None = 16,
        d_final: int | None = None,
        fill_empty: bool | str = True,
        seed: int = 0,
        mode: str = "native",
        projection: str | None = None,
        center: ArrayLike | None = None,
    ) -> None:
        self._params = checked_parameters(
            dim, k_sim, r_reps, d_proj, d_final, fill_empty, seed, mode, projection, center
        )
        self.dim: int = self._params["dim"]
        self.k_sim: int = self._params["k_sim"]
        self.r_reps: int = self._params["r_reps"]
        self._core = core_encoder(self._params)

    @property
    def dim_out(self) -> int:
        """Length of an encoding."""
        return self._core.dim_out()

    @property
    def params(self) -> dict[str, Any]:
        """The arguments of the constructor: ``FdeEncoder(**encoder.params)`` is the same encoder."""
        return dict(self._params)

    @property
    def fingerprint(self) -> str:
        """A line that says all that an encoding depends on; equal if and only if encodings compare."""
        return self._core.fingerprint()

    def encode_documents(
        self, documents: RaggedLike, *, dtype: str = "float32", threads: int = 0, progress: Progress = False
    ) -> Any:
        """Encode documents: per cell the mean of the tokens; empty cells get what `fill_empty` says.

        Parameters
        ----------
        documents : sets of (t, dim) vectors
            A sequence of arrays, a tuple ``(tokens, offsets)`` or ``(padded, mask)``, or one (n, t, dim)
            array, also through ``__dlpack__``. Must be finite. A set without tokens becomes zeros.
            ``(tokens, offsets)`` on a CUDA device (CuPy, torch) are encoded there, to an array of their kind.
        dtype : {"float32", "float16", "int8"}
            float16 is rounded to nearest even, infinite beyond 65504. int8, not on a device, has a scale for
            each row, its largest magnitude / 127: the values are ``codes * scales[:, None]``.
        threads, progress
            As in `knn`, progress in sets.

        Returns
        -------
        (n, dim_out) array, or for int8 a pair (codes (n, dim_out), scales (n,) float32)

        Raises
        ------
        ValueError
            Wrong shapes, offsets that fall, non-finite values.
        TypeError
            Arrays that do not hold real numbers, or live partly on a CUDA device.
        """
        return self._encode("documents", documents, dtype, threads, progress)

    def encode_queries(
        self, queries: RaggedLike, *, dtype: str = "float32", threads: int = 0, progress: Progress = False
    ) -> Any:
        """Encode queries: per cell the sum of the tokens. Arguments and result as for `encode_documents`."""
        return self._encode("queries", queries, dtype, threads, progress)

    def partitions(self, tokens: ArrayLike, *, threads: int = 0) -> NDArray[np.uint32]:
        """Return the cell of each token in each repetition, (r_reps, t): its position in an encoding."""
        return self._core.partitions(as_matrix("tokens", tokens, self.dim), as_threads(threads))

    def diagnostics(self, sample: RaggedLike) -> FdeDiagnostics:
        """Measure on sample documents how full the cells are, and how well scores follow Chamfer's."""
        return diagnose(self, as_ragged("sample", sample, self.dim))

    @classmethod
    def suggest(cls, sample: RaggedLike, dim: int, *, seed: int = 0) -> FdeEncoder:
        """Choose the parameters for encodings of at most `dim` coordinates that suit sample documents best.

        Every `k_sim` of 2..6 is tried with every `d_proj` of 8, 16, 32 and 64 and as many repetitions as fit.
        The best is the one whose scores correlate most with exact Chamfer scores, between the heads of some
        of the sample's documents as queries and all others.
        `sample` has two documents or more, of which at most 200 are used; `dim` is at least 32.
        """
        return suggest(cls, as_ragged("sample", sample), as_int("dim", dim, 32, 2**28), seed)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(self._params.values())

    def __repr__(self) -> str:
        return f"<FdeEncoder: {self.fingerprint}>"

    def _encode(self, name: str, sets: RaggedLike, dtype: str, threads: int, progress: Progress) -> Any:
        if _device_sets.are_on_device(sets):
            return _device_sets.encode(self._params, self.dim_out, name, sets, dtype)
        tokens, offsets = as_ragged(name, sets, self.dim)
        dtype, threads = as_choice("dtype", dtype, DTYPES), as_threads(threads)
        with reporter(progress, name) as callback:
            return self._core.encode(tokens, offsets, name == "documents", dtype, threads, callback)
