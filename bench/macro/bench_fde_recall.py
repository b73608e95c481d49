"""Recall of encodings over random draws, since one draw says little about a library or about planes.

- Each library, and each mode of this package, with as many seeds as there are repetitions.
- Hyperplanes that are fitted to the tokens of the documents, by the encoder in NumPy; what came of them, and
  why the package has none, is in multi_vector.md.

Differences, of planes from drawn ones and of the mean fill from the other, are between draws with the same
seed, which have the same projections.

  whimbrel bench fde-recall --data DIR --queries 323 --repetitions 10
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from bench import harness, machine, results
from bench.dataset import DataError, Float32
from bench.machine import Row
from bench.macro import token_bench
from bench.macro.bench_fde import NAMES, SETTINGS
from bench.macro.fde_peers import (
    CANDIDATES,
    Fastembed,
    FdePeer,
    K,
    MuveraPython,
    NumpyFde,
    Whimbrel,
    WhimbrelMean,
)


class WhimbrelSign(Whimbrel):
    """The dense projection of the paper."""

    def options(self) -> dict[str, Any]:
        return {**super().options(), "projection": "sign"}


class WhimbrelGoogle(Whimbrel):
    """The random numbers of the reference. Its repetition r has the seed + r: no two draws share one."""

    def options(self) -> dict[str, Any]:
        return {"mode": "google", "seed": (self.seed or 0) * self.setting[1]}


class Planes(NumpyFde):
    """Hyperplanes of a kind; `kind` is a key of KINDS."""

    kind: ClassVar[str]

    def hyperplanes(self, rng: np.random.Generator, count: int) -> tuple[Float32, Float32]:
        drawn, thresholds = super().hyperplanes(rng, count)
        normals, passed = KINDS[self.kind](self.data.tokens, drawn, thresholds)
        return normals.astype(np.float32), passed.astype(np.float32)


Kind = Callable[[Float32, Float32, Float32], tuple[Float32, Float32]]


def axes(tokens: Float32) -> tuple[Float32, Float32]:
    """Principal axes, one a column, and the deviations along them, largest first."""
    values, vectors = np.linalg.eigh(np.cov(tokens[::7].T))
    return vectors[:, ::-1], np.sqrt(values[::-1])


def stretched(tokens: Float32, drawn: Float32, power: float, kept: int | None = None) -> Float32:
    """Normals whose part along an axis is scaled by a power of the deviation there."""
    vectors, deviations = axes(tokens)
    normals: Float32 = vectors[:, :kept] * deviations[:kept] ** power @ (vectors[:, :kept].T @ drawn)
    return normals


def pairs(tokens: Float32, drawn: Float32) -> Float32:
    """Normals from one token of the documents to another."""
    rows = np.random.default_rng(drawn.view(np.uint32)[0, 0]).integers(0, len(tokens), (2, drawn.shape[1]))
    normals: Float32 = (tokens[rows[0]] - tokens[rows[1]]).T
    return normals


def medians(tokens: Float32, normals: Float32) -> Float32:
    """Thresholds that half of the tokens pass."""
    halves: Float32 = np.median(tokens[::11] @ normals.astype(np.float32), axis=0)
    return halves


KINDS: Mapping[str, Kind] = {
    "drawn, through the mean of the tokens": lambda tokens, drawn, zero: (drawn, tokens.mean(axis=0) @ drawn),
    "drawn, through medians": lambda tokens, drawn, zero: (drawn, medians(tokens, drawn)),
    "with the covariance of the tokens": lambda tokens, drawn, zero: (stretched(tokens, drawn, 1), zero),
    "with its inverse": lambda tokens, drawn, zero: (stretched(tokens, drawn, -1), zero),
    "in the span of 32 principal axes": lambda tokens, drawn, zero: (stretched(tokens, drawn, 0, 32), zero),
    "from token to token, through medians": lambda tokens, drawn, zero: (
        (normals := pairs(tokens, drawn)),
        medians(tokens, normals),
    ),
}


MEANS = "whimbrel, filled with means"
LIBRARIES: Mapping[str, type[FdePeer]] = {
    "whimbrel": Whimbrel,
    "whimbrel, sign": WhimbrelSign,
    MEANS: WhimbrelMean,
    "whimbrel, google": WhimbrelGoogle,
    "fastembed": Fastembed,
    "muvera-python": MuveraPython,
    "numpy": NumpyFde,  # its planes are drawn
}
CONTESTANTS = {**LIBRARIES, **{kind: type("Planes", (Planes,), {"kind": kind}) for kind in KINDS}}


def measure(args: argparse.Namespace, dataset: str, out: results.ResultFile) -> None:
    """A row per setting, contestant and seed; planes have half as many seeds. Rows of the file are kept."""
    if args.repetitions < 2:
        raise DataError(f"repetitions: expected at least 2, got {args.repetitions}")
    truth = None
    for setting in SETTINGS:
        for name, kind in CONTESTANTS.items():
            common = {"dataset": dataset, **dict(zip(NAMES, setting, strict=True)), "engine": name}
            common |= {"n": args.n, "queries": args.queries}
            common |= {"version": machine.version(kind.package)}
            common |= {"core": machine.build_of_core() if issubclass(kind, Whimbrel) else None}
            earlier = {row["seed"]: row["recall"] for row in out.find("fde recall", common)}
            peer = None
            count = args.repetitions if name in LIBRARIES else max(2, args.repetitions // 2)
            for seed in range(1, count + 1):
                if seed not in earlier:
                    try:
                        peer = peer or kind(
                            dataset, args.data, args.n, args.queries, setting, max(args.threads)
                        )
                    except ImportError as error:
                        out.write("failed", {**common, "reason": str(error)})
                        break
                    truth = peer.truth() if truth is None else truth
                    peer.seed = seed
                    peer.prepare()
                    earlier[seed] = peer.recall(truth)
                out.write("fde recall", {**common, "seed": seed, "recall": earlier[seed]})
            harness.log(f"{dataset}, {setting}: {name}")


def described(recalls: Sequence[float]) -> str:
    """Mean, deviation and extremes."""
    return f"{np.mean(recalls):.3f} ± {np.std(recalls, ddof=1):.3f} ({min(recalls):.3f}..{max(recalls):.3f})"


def difference(recalls: Sequence[float] | None, base: Sequence[float] | None) -> str | None:
    """Mean over the seeds of `recalls`, and its standard error; None where `base` lacks one of them."""
    if recalls is None or base is None or len(recalls) > len(base):
        return None
    found = np.subtract(recalls, base[: len(recalls)])
    return f"{found.mean():+.3f} ± {np.std(found, ddof=1) / np.sqrt(len(found)):.3f}"


def tables(rows: Sequence[Row]) -> str:
    """One for libraries, one for planes."""
    found: dict[tuple[object, ...], list[float]] = {}
    for row in (row for row in rows if row["kind"] == "fde recall"):
        found.setdefault((row["engine"], *map(row.get, NAMES)), []).append(row["recall"])
    found = {key: recalls for key, recalls in found.items() if len(recalls) > 1}
    if not found:
        return ""
    settings = [f"({r_reps}, {k_sim}, {d_proj})" for k_sim, r_reps, d_proj in SETTINGS]
    libraries: list[list[str | None]] = [[name] for name in LIBRARIES]
    planes: list[list[str | None]] = [[name] for name in KINDS]
    for line in libraries + planes:
        for setting in SETTINGS:
            mine, base = found.get((line[0], *setting)), found.get(("numpy", *setting))
            line.append(None if mine is None else described(mine))
            if line in planes:
                line.append(difference(mine, base))
    count = max(map(len, found.values()))
    title = f"recall@{K} in {CANDIDATES} candidates, {count} seeds: "
    title += "mean ± deviation of a seed (extremes); differences ± their standard error"
    gains = [difference(found.get((MEANS, *s)), found.get(("whimbrel", *s))) for s in SETTINGS]
    parts = [
        results.table(["by", *settings], [*libraries, [f"{MEANS}, less whimbrel", *gains]]),
        results.table(["planes", *(h for name in settings for h in (name, "less drawn ones"))], planes),
    ]
    return "\n\n".join([title, *parts])


def run(argv: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print."""
    token_bench.run(__doc__, "fde_recall.jsonl", measure, tables, argv)


if __name__ == "__main__":
    harness.main(run)
