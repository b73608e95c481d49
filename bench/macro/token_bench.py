"""The command line of the benches on sets of token vectors."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial

from bench import harness, results, token_sets
from bench.machine import Row
from bench.macro import race


def run(
    description: str | None,
    out: str,
    measure: Callable[[argparse.Namespace, str, results.ResultFile], None],
    tables: Callable[[list[Row]], str],
    argv: Sequence[str] | None,
) -> None:
    """Read the command line, measure each set, print its tables."""
    parser = harness.parser(description, token_sets.NAMES, out, token_sets.known_name, token_sets.NAMES)
    parser.set_defaults(queries=50)
    race.add_flags(parser)
    args = parser.parse_args(argv)
    if args.quick:
        args.n, args.queries, args.repetitions = args.n or 300, min(args.queries, 20), 3
    chosen = args.datasets or [name for name in token_sets.NAMES if args.data or name != "nfcorpus"]
    harness.measure_and_print(args, chosen, measure, partial(results.report, tables=tables))
