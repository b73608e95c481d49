"""Hash of everything under cuda/, and whether it is the tree that a GPU verified last.

Without arguments: print the hash. With --check: say if the last table of bench/results was made with another
one. That is no error: most machines have no GPU, and a change of cuda/ is verified where there is one.
"""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def tree_hash(folder: Path) -> str:
    """SHA-256 over names and contents, in the order of the names."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def last_verified(results: Path) -> tuple[str, str] | None:
    """File and hash of the newest table, by its date."""
    tables = []
    for path in results.glob("gpu_*.md"):
        text = path.read_text()
        date, tree = (re.search(rf"^- {key}: (\S+)$", text, re.MULTILINE) for key in ("date", "cuda/"))
        if date and tree:
            tables.append((date[1], path.name, tree[1]))
    return max(tables)[1:] if tables else None


def main() -> None:
    """Print one line."""
    now = tree_hash(ROOT / "cuda")
    if "--check" not in sys.argv:
        print(now)
        return
    verified = last_verified(ROOT / "bench/results")
    if verified is None:
        print(f"cuda/ ({now}) was never verified on a GPU: bench/results has no table")
    elif verified[1] != now:
        print(f"cuda/ differs from the last GPU-verified tree: {now}, {verified[0]} has {verified[1]}")
    else:
        print(f"cuda/ ({now}) is the tree verified in bench/results/{verified[0]}")


if __name__ == "__main__":
    main()
