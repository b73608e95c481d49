"""Documents per second of `FdeEncoder`, beside the peers that are installed, and its share of the GEMM rate.

Documents of 100 random unit tokens of 128 dimensions. GEMM: the rate of NumPy's product of two 2048 x 2048
float32 matrices, with as many threads, interleaved with the encoders. Counted operations of a document: 2 t d
r_reps k_sim of the signs, t d r_reps additions of the count sketch, t d_proj r_reps of the sums. The peers:
fastembed (`Muvera`, one document a call, dense signs), muvera (`encode_documents_batch`, count sketch). Their
encodings differ from each other's by definition; only the speed is compared.

  python -m bench.macro.bench_fde
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import harness, results

DIM, TOKENS = 128, 100
SETTINGS = ((5, 20, 16), (4, 20, 8))  # k_sim, r_reps, d_proj
Documents = NDArray[np.float32]
Encoders = dict[str, tuple[Callable[[], object], int]]


def whimbrel(documents: Documents, setting: tuple[int, int, int], threads: int) -> Encoders:
    import whimbrel as wb

    encoder = wb.FdeEncoder(DIM, *setting)
    flat = documents.reshape(-1, DIM), np.arange(len(documents) + 1) * TOKENS
    calls: Encoders = {}
    for dtype in ("float32", "float16", "int8"):

        def call(dtype: str = dtype) -> object:
            return encoder.encode_documents(flat, dtype=dtype, threads=threads)

        calls[f"whimbrel {dtype}"] = (call, len(documents))
    return calls


def fastembed(documents: Documents, setting: tuple[int, int, int]) -> Encoders:
    from fastembed.postprocess.muvera import Muvera  # type: ignore[import-not-found]

    k_sim, r_reps, d_proj = setting
    encoder = Muvera(DIM, k_sim=k_sim, dim_proj=d_proj, r_reps=r_reps)
    few = documents[:20]
    return {"fastembed": (lambda: [encoder.process_document(d) for d in few], len(few))}


def muvera(documents: Documents, setting: tuple[int, int, int]) -> Encoders:
    import muvera as peer  # type: ignore[import-not-found]

    k_sim, r_reps, d_proj = setting
    encoder: Any = peer.MuveraEncoder(
        num_repetitions=r_reps, num_simhash_projections=k_sim, dimension=DIM, projection_dimension=d_proj
    )
    batch = [np.ascontiguousarray(d) for d in documents[:100]]
    return {"muvera (batch)": (lambda: encoder.encode_documents_batch(batch), len(batch))}


def measure(documents: Documents, setting: tuple[int, int, int], threads: int, repetitions: int) -> str:
    """One table: documents a second, and the share of the GEMM rate of the same repetition."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    encoders = whimbrel(documents, setting, threads)
    for kind in (fastembed, muvera):
        if importlib.util.find_spec(kind.__name__) is not None:
            encoders |= kind(documents, setting)
    matrix = np.random.default_rng(1).random((2048, 2048), dtype=np.float32)
    encoders["GEMM"] = (lambda: matrix @ matrix, 2 * 2048**3)
    k_sim, r_reps, d_proj = setting
    operations = TOKENS * r_reps * (2 * DIM * k_sim + DIM + d_proj)
    rates: dict[str, list[float]] = {name: [] for name in encoders}
    with threadpool_limits(threads):
        for call, _ in encoders.values():
            call()
        for name in harness.interleaved(list(encoders), repetitions):
            call, items = encoders[name]
            rates[name].append(items / harness.seconds(call))
    body = []
    for name, found in rates.items():
        if name == "GEMM":
            continue
        faster = [own / theirs for own, theirs in zip(rates["whimbrel float32"], found, strict=True)]
        share = [operations * rate / gemm for rate, gemm in zip(found, rates["GEMM"], strict=True)]
        body.append(
            [
                name,
                results.with_range(found),
                results.with_range(faster, 1, "x"),
                f"{median(share):.1%}",
            ]
        )
    title = f"k_sim {k_sim}, r_reps {r_reps}, d_proj {d_proj}, threads: {threads}, "
    title += f"GEMM {median(rates['GEMM']) / 1e9:.0f} GFLOP/s"
    header = ["by", "documents/s", "whimbrel float32 is faster by", "share of GEMM"]
    return f"{title}\n\n{results.table(header, body)}\n"


def run() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    both = sorted({1, harness.n_cores()})
    parser.add_argument("--threads", type=int, nargs="+", default=both, help="default: one, and all cores")
    parser.add_argument("--documents", type=int, default=2_000)
    parser.add_argument("--repetitions", type=int, default=7)
    args = parser.parse_args()
    documents = np.random.default_rng(0).standard_normal((args.documents, TOKENS, DIM), dtype=np.float32)
    documents /= np.linalg.norm(documents, axis=2, keepdims=True)
    for setting in SETTINGS:
        for threads in args.threads:
            sys.stdout.write(measure(documents, setting, threads, args.repetitions) + "\n")


if __name__ == "__main__":
    harness.main(run)
