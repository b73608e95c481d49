"""Facts about the machine and what is installed on it, and how much of it others took meanwhile."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

Row = dict[str, Any]

PACKAGES = (
    *("whimbrel", "numpy", "hnswlib", "faiss-cpu", "usearch", "scalable-vs", "pyvsag", "ngt"),
    *("fastembed", "muvera-python", "maxsim-cpu", "numkong"),
)


def cpu_flags() -> set[str]:
    """Instruction set extensions that the kernel reports; empty where it does not."""
    return set(_cpuinfo("flags").split()) | set(_cpuinfo("Features").split())


def _cpuinfo(field: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() == field), "")


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _commit() -> str | None:
    """Commit of the tree that holds this file, with "+changes" if it differs from it."""
    folder = Path(__file__).resolve().parent

    def git(*command: str) -> str:
        return subprocess.run(
            ["git", *command], cwd=folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD")[:12] + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def version(package: str) -> str | None:
    """Version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def build_of_core() -> str | None:
    """Start of the SHA-256 of the compiled module: builds of one version differ."""
    spec = importlib.util.find_spec("whimbrel._core")
    if spec is None or spec.origin is None:
        return None
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()[:8]


def machine_facts() -> Row:
    """Everything about the machine that a number may depend on."""
    import whimbrel as wb

    return {
        "cpu": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "cores": n_cores(),
        "isa": wb.active_isa(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
        "commit": _commit(),
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def steal_seconds() -> float:
    """CPU time that the hypervisor took away since boot, all cores together; 0 where unknown."""
    try:
        return int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return 0.0


class Noise:
    """How much of the machine others took between its making and `row`."""

    def __init__(self) -> None:
        self._start, self._stolen = time.perf_counter(), steal_seconds()

    def row(self) -> Row:
        """Wall seconds, and the share of all cores' time that the hypervisor took away, in percent."""
        wall = time.perf_counter() - self._start
        stolen = (steal_seconds() - self._stolen) / (wall * (os.cpu_count() or 1))
        return {"wall_seconds": round(wall, 1), "steal_percent": round(100 * stolen, 2)}
