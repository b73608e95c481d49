"""Check a built wheel: what is in it, how large it is, and that it works without a compiler.

Usage: python tests/wheel/check.py FILE.whl
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

MOST_BYTES = 4 << 20
WANTED = (
    "whimbrel/__init__.py",
    "whimbrel/py.typed",
    "whimbrel/_core.pyi",
    "whimbrel/include/whimbrel/hnsw.hpp",
    "whimbrel/lib/libwhimbrel.a",
    "whimbrel/lib/cmake/whimbrel/whimbrelConfig.cmake",
)
UNWANTED = ("tests/", "bench/", "cpp/", "cuda/", ".ci/", "__pycache__")

# Same neighbors and distances whatever the instruction set; run once for each.
PROGRAM = """
import hashlib, numpy as np, whimbrel as wb
rng = np.random.default_rng(0)
data = rng.standard_normal((2000, 48), dtype=np.float32)
ids, distances = wb.knn(data, data[:50], k=10)
print(hashlib.sha256(ids.tobytes() + distances.tobytes()).hexdigest())
assert wb.HnswIndex.build(data).search(data, k=1).ids.shape == (2000, 1)
"""


def check_contents(wheel: Path) -> None:
    size = wheel.stat().st_size
    assert size <= MOST_BYTES, f"{wheel.name}: expected at most {MOST_BYTES} bytes, got {size}"
    names = zipfile.ZipFile(wheel).namelist()
    missing = [name for name in WANTED if name not in names]
    assert not missing, f"{wheel.name}: expected {missing}"
    assert any(name.endswith("licenses/LICENSE") for name in names), "expected the licence"
    strays = [name for name in names if name.startswith(UNWANTED) or "__pycache__" in name]
    assert not strays, f"{wheel.name}: unexpected {strays}"
    print(f"{wheel.name}: {size / 1e6:.2f} MB, {len(names)} files")


def check_use(wheel: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder, "bin", "python"))
        # Binary packages only, and no compiler on the path: what a service's image has.
        env = {"PATH": str(Path(folder, "bin")), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        subprocess.run(
            [python, "-m", "pip", "install", "-q", "--only-binary", ":all:", str(wheel)], check=True, env=env
        )

        def run(program: str, **more: str) -> str:
            command = [python, "-c", program]
            return subprocess.run(command, check=True, env=env | more, capture_output=True, text=True).stdout

        isas = run("import whimbrel; print(*whimbrel.available_isas())").split()
        results = {isa: run(PROGRAM, WHIMBREL_ISA=isa) for isa in isas}
        assert len(set(results.values())) == 1, f"expected equal results, got {results}"
        print(f"works without a compiler, equal results with {', '.join(results)}")


if __name__ == "__main__":
    check_contents(Path(sys.argv[1]))
    check_use(Path(sys.argv[1]).resolve())
