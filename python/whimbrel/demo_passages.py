"""Passages for the demo: documentation strings of the installed Python, read and never imported."""

from __future__ import annotations

import ast
import inspect
import sysconfig
import tokenize
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["Passage", "harvest"]

# Tests document nothing, and the rest repeats what is elsewhere or is generated.
SKIPPED = {
    "test",
    "tests",
    "idle_test",
    "__pycache__",
    "site-packages",
    "dist-packages",
    "_vendor",
    "pydoc_data",
}
MIN_WORDS = 6
MAX_SOURCE_BYTES = 1_000_000


class Passage(NamedTuple):
    """A documented module, class or function.

    Attributes
    ----------
    name : str
        Dotted, as one would import it.
    text : str
        Its documentation string.
    """

    name: str
    text: str


def harvest(limit: int) -> list[Passage]:
    """Collect up to `limit` passages: the standard library first, then packages, in sorted order.

    Each text appears once, under the first name that has it. The same installation gives the same passages.
    """
    paths = sysconfig.get_paths()
    roots = dict.fromkeys(Path(paths[name]) for name in ("stdlib", "purelib", "platlib"))
    passages: dict[str, Passage] = {}
    for root in roots:
        for file in _source_files(root):
            for passage in _passages_of(file, root):
                passages.setdefault(passage.text, passage)
            if len(passages) >= limit:
                return list(passages.values())[:limit]
    return list(passages.values())


def _source_files(root: Path) -> Iterator[Path]:
    """Yield the Python files below `root`, sorted, without the private and the tests."""
    try:
        entries = sorted(root.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.is_dir():
            if entry.name not in SKIPPED and "." not in entry.name:
                yield from _source_files(entry)
        elif entry.suffix == ".py" and not entry.name.startswith("test_"):
            yield entry


def _passages_of(file: Path, root: Path) -> Iterator[Passage]:
    try:
        if file.stat().st_size > MAX_SOURCE_BYTES:
            return
        with tokenize.open(file) as f:  # in the encoding that the file declares
            source = f.read()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old packages have invalid escapes
            tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return  # not for this Python
    parts = file.relative_to(root).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    yield from _documented(tree, module)


def _documented(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str
) -> Iterator[Passage]:
    text = inspect.cleandoc(ast.get_docstring(node, clean=False) or "")
    if len(text.split()) >= MIN_WORDS:
        yield Passage(name, text)
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return  # what is inside a function cannot be imported
    for child in node.body:
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _documented(child, f"{name}.{child.name}")
