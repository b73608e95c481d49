"""Where the C++ library lies that comes with the package, for programs that use it without Python."""

from __future__ import annotations

from pathlib import Path

from . import _core

__all__ = ["get_cmake_dir", "get_include"]


def get_include() -> str:
    """Return the directory of the C++ headers: what a compiler takes as ``-I``."""
    return _installed("include")


def get_cmake_dir() -> str:
    """Return the directory of the CMake package: the ``whimbrel_DIR`` of ``find_package(whimbrel)``."""
    return _installed("lib/cmake/whimbrel")


def _installed(path: str) -> str:
    # Beside the compiled module, also when the Python files are those of a source tree.
    found = Path(_core.__file__).resolve().parent / path
    if not found.is_dir():
        raise ImportError(f"{path}: expected beside {_core.__file__}, but the package was built without it")
    return str(found)
