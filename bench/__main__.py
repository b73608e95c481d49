"""`whimbrel bench`, also as `python -m bench` from the root of the repository."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from . import compare, harness
from .macro import bench_search


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and report; with `table` only report; with `compare` compare two result files."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["compare"]:
        harness.main(lambda: compare.run(words[1:]))
    else:
        harness.main(lambda: bench_search.run(words))


if __name__ == "__main__":
    main()
