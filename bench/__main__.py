"""`whimbrel bench`, also as `python -m bench` from the root of the repository."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from . import compare, harness
from .macro import (
    bench_change,
    bench_cur,
    bench_cur_graph,
    bench_cur_speed,
    bench_exact,
    bench_fde,
    bench_fde_recall,
    bench_filter,
    bench_insertion_order,
    bench_lid,
    bench_maxsim,
    bench_memory,
    bench_multivector,
    bench_scale,
    bench_search,
)

OTHERS = {
    "change": bench_change.run,
    "compare": compare.run,
    "cur": bench_cur.run,
    "cur-graph": bench_cur_graph.run,
    "cur-speed": bench_cur_speed.run,
    "exact": bench_exact.run,
    "fde": bench_fde.run,
    "fde-recall": bench_fde_recall.run,
    "filter": bench_filter.run,
    "lid": bench_lid.run,
    "maxsim": bench_maxsim.run,
    "memory": bench_memory.run,
    "multivector": bench_multivector.run,
    "order": bench_insertion_order.run,
    "scale": bench_scale.run,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and report; with `table` only report; with the name of another bench run that one."""
    words = list(sys.argv[1:] if argv is None else argv)
    other = OTHERS.get(words[0]) if words else None
    harness.main(lambda: bench_search.run(words) if other is None else other(words[1:]))


if __name__ == "__main__":
    main()
