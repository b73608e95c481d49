"""Data and helpers that several test files share. Everything is synthetic and has a fixed seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import whimbrel as wb


@pytest.fixture(scope="session")
def cube():
    """2,000 base points and 100 queries, uniform in 16 dimensions."""
    points = np.random.default_rng(1).random((2100, 16), dtype=np.float32)
    return points[100:], points[:100]


@pytest.fixture(scope="session")
def index(cube):
    """An index of the cube, with ids that are not row numbers. For reading only."""
    base, _ = cube
    return wb.HnswIndex.build(base, ids=np.arange(len(base)) * 3 + 5, M=8, ef_construction=100, seed=3)


@pytest.fixture(params=wb.available_isas())
def isa(request):
    """Each instruction set that this machine can run."""
    return request.param


@pytest.fixture
def in_checkout(monkeypatch):
    """Run in the root of the checkout, where `whimbrel bench` works."""
    monkeypatch.chdir(Path(__file__).parents[2])


@pytest.fixture
def run_python(tmp_path):
    """Run a program in a Python of its own, in an empty directory, and return what it printed."""

    def run(program, *args, isa=None, code=0):
        env = {**os.environ, "PYTHONWARNINGS": "error"}
        env.pop("WHIMBREL_ISA", None)
        if isa is not None:
            env["WHIMBREL_ISA"] = isa
        done = subprocess.run(
            [sys.executable, "-c", program, *map(str, args)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=env,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout

    return run
