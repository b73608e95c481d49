"""Data and helpers that several test files share. Everything is synthetic and has a fixed seed."""

from __future__ import annotations

import importlib
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import whimbrel as wb
from whimbrel._cuda_status import missing


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


class Backend:
    """Where a call runs: numpy arrays on the CPU or on a device, or arrays of a library on a device."""

    def __init__(self, name):
        self.name = name
        self.options = {"device": "cuda"} if name == "cuda" else {}
        self.library = importlib.import_module(name) if name in {"torch", "cupy"} else np

    def send(self, values, dtype=None):
        """A copy of a numpy array as this backend takes it."""
        values = np.asarray(values, dtype)
        if self.name == "torch":
            return self.library.asarray(values, device="cuda")
        return self.library.array(values)

    def fetch(self, result):
        """The result as a numpy array; its kind must be that of what was sent."""
        if self.name == "torch":
            assert isinstance(result, self.library.Tensor)
            assert result.is_cuda
            return result.cpu().numpy()
        assert isinstance(result, self.library.ndarray)
        return result.get() if self.name == "cupy" else result

    def pairwise_distances(self, data, queries=None, metric="l2"):
        arrays = [self.send(x) for x in (data, queries) if x is not None]
        return self.fetch(wb.pairwise_distances(*arrays, metric=metric, **self.options))

    def knn(self, data, queries=None, *args, **options):
        data, queries = (None if x is None else self.send(x) for x in (data, queries))
        found = wb.knn(data, queries, *args, **self.options, **options)
        return wb.KnnResult(*map(self.fetch, found))

    def estimate_lid(self, data=None, *, neighbors=None, **options):
        if data is not None:
            data = self.send(data)
        if neighbors is not None:
            neighbors = tuple(map(self.send, neighbors))
        return self.fetch(wb.estimate_lid(data, neighbors=neighbors, **self.options, **options))


def backend_or_skip(name):
    """A backend, unless its device or library is not there."""
    if name != "cpu" and not wb.cuda.is_available():
        pytest.skip(f"not run on CUDA: {missing()}")
    if name in {"torch", "cupy"}:
        pytest.importorskip(name)
    return Backend(name)


@pytest.fixture(scope="session", params=["cpu", "cuda", "torch", "cupy"])
def backend(request):
    """The CPU, and each way to use a device where there is one."""
    return backend_or_skip(request.param)


@pytest.fixture(scope="session", params=["torch", "cupy"])
def device_library(request):
    """The backends whose arrays are on a device."""
    return backend_or_skip(request.param)


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


def xxh64(data):
    """XXH64 with seed 0, to give altered files their right checksum."""
    mask = 2**64 - 1
    p1, p2, p3, p4, p5 = (
        0x9E3779B185EBCA87,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0x85EBCA77C2B2AE63,
        0x27D4EB2F165667C5,
    )

    def rotate(x, r):
        return (x << r | x >> (64 - r)) & mask

    def mix(lane, word):
        return rotate(lane + word * p2 & mask, 31) * p1 & mask

    words = [int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), 8)]
    assert len(data) % 32 == 0  # sections are padded
    lanes = [p1 + p2 & mask, p2, 0, -p1 & mask]
    for i, word in enumerate(words):
        lanes[i % 4] = mix(lanes[i % 4], word)
    h = sum(rotate(lane, r) for lane, r in zip(lanes, (1, 7, 12, 18), strict=True)) & mask
    if data:
        for lane in lanes:
            h = ((h ^ mix(0, lane)) * p1 + p4) & mask
    else:
        h = p5
    h = h + len(data) & mask
    h = (h ^ h >> 33) * p2 & mask
    h = (h ^ h >> 29) * p3 & mask
    return h ^ h >> 32


@pytest.fixture
def forge():
    """Alter bytes of a section of a saved file, and make all checksums right again."""

    def altered(saved, tag, offset, data):
        out = bytearray(saved)
        (n_sections,) = struct.unpack_from("<I", out, 20)
        for row in range(64, 64 + 32 * n_sections, 32):
            name, _, start, length, _ = struct.unpack_from("<4sIQQQ", out, row)
            if name == tag:
                out[start + offset : start + offset + len(data)] = data
                struct.pack_into(
                    "<Q", out, row + 24, xxh64(bytes(out[start : start + -(-length // 64) * 64]))
                )
        struct.pack_into("<Q", out, 56, 0)
        table = 64 + -(-32 * n_sections // 64) * 64
        struct.pack_into("<Q", out, 56, xxh64(bytes(out[:table])))
        assert out != saved
        return bytes(out)

    return altered
