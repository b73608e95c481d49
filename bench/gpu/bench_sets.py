"""MaxSim and encodings of token sets on a GPU, beside a padded product in torch and the device's ceilings.

Lengths vary around their mean by the coefficient `cv`; torch pads to the longest. Vectors have unit length.
"""

from __future__ import annotations

import argparse

import torch
import whimbrel as wb
from bench_knn import Row, ceilings, interleaved, say, table, unit_rows

Sets = tuple[torch.Tensor, torch.Tensor]
PADDED_BYTES = 2**34


def make_sets(n: int, length: int, dim: int, cv: float, dtype: torch.dtype) -> Sets:
    torch.manual_seed(n + length)
    lengths = (torch.randn(n) * cv + 1).mul(length).clamp(1, 4 * length).long()
    offsets = torch.zeros(n + 1, dtype=torch.int64)
    offsets[1:] = lengths.cumsum(0)
    tokens = torch.empty(int(offsets[-1]), dim, dtype=dtype, device="cuda")
    for first in range(0, len(tokens), 2**22):
        part = tokens[first : first + 2**22]
        part.copy_(unit_rows(len(part), dim, first))
    return tokens, offsets.cuda()


def pad(sets: Sets) -> tuple[torch.Tensor, torch.Tensor] | None:
    """(n, longest, dim) and a mask; None if that is too large."""
    tokens, offsets = sets
    lengths = offsets.diff()
    longest = int(lengths.max())
    if len(lengths) * longest * tokens.shape[1] * 2 > PADDED_BYTES:
        return None
    mask = torch.arange(longest, device="cuda") < lengths[:, None]
    padded = torch.zeros(*mask.shape, tokens.shape[1], dtype=tokens.dtype, device="cuda")
    padded[mask] = tokens
    return padded, mask


def torch_maxsim(queries: torch.Tensor, padded: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Scores (n, q) of queries (q, t, dim), in the type of the vectors, summed in float32."""
    q, t, dim = queries.shape
    products = padded.view(-1, dim) @ queries.reshape(-1, dim).T
    products = products.view(*mask.shape, q, t).masked_fill(~mask[:, :, None, None], -9999.0)
    return products.amax(1).float().sum(-1)


def maxsim_case(
    q: int, t: int, n: int, length: int, cv: float, ceiling: tuple[float, float], rounds: int
) -> Row:
    queries, docs = make_sets(q, t, 128, 0, torch.float16), make_sets(n, length, 128, cv, torch.float16)
    calls = {"whimbrel": lambda: wb.maxsim_matrix(queries, docs)}
    padded = pad(docs)
    if padded is not None and 4 * n * padded[1].shape[1] * q * t < PADDED_BYTES:
        calls["torch"] = lambda: torch_maxsim(queries[0].view(q, t, 128), *padded)
    times = interleaved(calls, rounds)
    tokens, ours = docs[0], times["whimbrel"]
    theirs = times.get("torch")
    expected = wb.maxsim_matrix(
        (queries[0][:t].float().cpu().numpy(), queries[1][:2].cpu().numpy()),
        (tokens[: int(docs[1][50])].cpu().numpy(), docs[1][:51].cpu().numpy()),
    )
    found = wb.maxsim_matrix(queries, docs)[:1, :50].cpu().numpy()
    return [
        f"{q} x {t}, {n} x {length}, cv {cv}",
        f"{ours:.3f}",
        f"{tokens.numel() * 2 / ours * 1e3 / ceiling[0]:.0%}",
        f"{2 * q * t * tokens.numel() / ours / 1e9:.0f}",
        "-" if theirs is None else f"{theirs:.3f}",
        "-" if theirs is None else f"{theirs / ours:.2f}",
        "yes" if (found == expected).all() else "NO",
    ]


def encoder_case(n: int, options: dict[str, int], ceiling: tuple[float, float], rounds: int) -> Row:
    encoder, docs = wb.FdeEncoder(128, **options), make_sets(n, 100, 128, 0, torch.float16)
    ours = interleaved({"": lambda: encoder.encode_documents(docs, dtype="float16")}, rounds)[""]
    moved = docs[0].numel() * 2 + n * encoder.dim_out * 2
    return [
        ", ".join(f"{name} {value}" for name, value in options.items()),
        str(n),
        f"{ours:.2f}",
        f"{ours / n * 1e6:.1f}",
        f"{moved / ours * 1e3 / ceiling[0]:.0%}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    arguments, _ = parser.parse_known_args()  # verify.sh hands all benches the same
    ceiling = ceilings()
    say(f"copy {ceiling[0] / 1e9:.0f} GB/s, bf16 product {ceiling[1] / 1e12:.0f} TFLOP/s\n")
    shapes = [
        (1, 32, 20_000, 300, 0.0),
        (1, 32, 60_000, 100, 0.0),
        (1, 32, 60_000, 100, 0.5),
        (1, 1024, 4_000, 1024, 0.0),
        (32, 32, 20_000, 100, 0.5),
    ]
    header = [
        "queries, documents",
        "ms",
        "of copy",
        "TFLOP/s",
        "torch padded, ms",
        "ratio",
        "exact (spot check)",
    ]
    say(table(header, [maxsim_case(*shape, ceiling, arguments.rounds) for shape in shapes]) + "\n")
    encoders = [{"r_reps": 20, "k_sim": 5, "d_proj": 16}, {"r_reps": 20, "k_sim": 4, "d_proj": 8}]
    header = ["encoder", "documents of 100 tokens", "ms", "ms per million", "of copy"]
    say(table(header, [encoder_case(200_000, options, ceiling, 3) for options in encoders]))


if __name__ == "__main__":
    main()
