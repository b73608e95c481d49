"""What the compiler says of every kernel, without a GPU: its resources, and what must or must not be in it.

Every file of cuda/src is compiled for both targets of the development build. A kernel fails that spills
registers, keeps a stack frame or uses more registers than its file may; so does a canonical kernel that fuses
multiply and add, and a scan that does not use the matrix unit of its target.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
TARGETS = ("80", "90a")
INCLUDES = [f"-I{ROOT / folder}" for folder in ("cuda/include", "cuda/src", "cpp/include")]

# Above these, fewer threads fit than the kernel was written for. The scans and MaxSim hold a tile in
# registers, at the limit of a thread (255) or of a block of 384 threads (168); the encoder's blocks have 512
# or 640 threads; the sort of hnsw_build is CUB's.
REGISTERS = {"scan": 255, "scan_hopper": 168, "maxsim": 168, "fde_kernels": 128, "hnsw_build": 128}
REGISTERS_ELSEWHERE = 96

# Bytes of stack that a kernel may use, by a part of its name. write_queries keeps one flag across the
# subroutine of a square root, once a query.
STACK_BYTES = {"write_queries": 8}

# Entry functions whose float sums are returned: file, and a pattern of their names.
CANONICAL = [
    ("pairwise_distance", "."),
    ("normalize", "."),
    ("hnsw_build", "choose|answer"),
    ("lid", "."),
    ("cur_greedy_kernels", "deflate"),
    ("settle", "rescan|merge_segments"),
]
# file, target, instruction that must be there.
MATRIX_UNIT = [("scan", "80", r"\bmma\.sync"), ("scan_hopper", "90a", r"\bwgmma\.mma_async")]


def run(*command: str) -> str:
    """Run a command and return all it said; end the program with that if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def compile_one(source: Path, target: str, folder: Path) -> tuple[str, str]:
    """Return the PTX and the resource report of a file."""
    ptx = folder / f"{source.stem}.{target}.ptx"
    run(
        "nvcc", "-std=c++20", "--expt-relaxed-constexpr", "-ptx", f"-arch=compute_{target}", *INCLUDES,
        str(source), "-o", str(ptx),
    )  # fmt: skip
    cubin = str(ptx.with_suffix(".cubin"))
    return ptx.read_text(), run("nvcc", "-cubin", f"-arch=sm_{target}", "-Xptxas=-v", str(ptx), "-o", cubin)


def allowed_stack(name: str) -> int:
    """Bytes of stack, stores and loads that a kernel may have."""
    return max([size for part, size in STACK_BYTES.items() if part in name], default=0)


def resource_errors(report: str, ceiling: int) -> tuple[list[str], int]:
    """What is wrong in a report of ptxas, and how many kernels it describes."""
    kernels = re.split(r"Compiling entry function '", report)[1:]
    errors = []
    for kernel in kernels:
        name = kernel.split("'")[0]
        sizes = re.search(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", kernel
        )
        used = re.search(r"Used (\d+) registers", kernel)
        if sizes is None or used is None:
            errors.append(f"{name}: the report is of an unknown form")
        elif any(int(size) > allowed_stack(name) for size in sizes.groups()):
            errors.append(f"{name}: {sizes[0]}")
        elif int(used[1]) > ceiling:
            errors.append(f"{name}: expected at most {ceiling} registers, got {used[1]}")
    return errors, len(kernels)


def fused_entries(ptx: str, pattern: str) -> list[str]:
    """Names of matching entry functions with a fused multiply-add of floats."""
    entries = re.split(r"\.entry\s+", ptx)[1:]
    return [
        entry.split("(")[0]
        for entry in entries
        if re.search(pattern, entry.split("(")[0]) and re.search(r"\b(fma|mad)\.\S*f32\b", entry)
    ]


def main() -> None:
    """Check all files; exit with what is wrong."""
    sources = sorted((ROOT / "cuda/src").glob("*.cu"))
    stems = {source.stem for source in sources}
    named = {*REGISTERS, *(file for file, *_ in (*CANONICAL, *MATRIX_UNIT))}
    errors = [f"{stem}: expected a file of cuda/src" for stem in sorted(named - stems)]
    total = 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [(source, target) for source in sources for target in TARGETS]
        results = pool.map(lambda job: compile_one(*job, Path(folder)), jobs)
        for (source, target), (ptx, report) in zip(jobs, results, strict=True):
            where = f"{source.name} for {target}"
            wrong, n_kernels = resource_errors(report, REGISTERS.get(source.stem, REGISTERS_ELSEWHERE))
            total += n_kernels
            errors += [f"{where}: {error}" for error in wrong]
            if n_kernels == 0 or n_kernels != ptx.count(".entry"):
                errors.append(f"{where}: expected a report of every kernel, got {n_kernels}")
            for file, pattern in CANONICAL:
                if file == source.stem:
                    errors += [f"{where}: {name} fuses" for name in fused_entries(ptx, pattern)]
            for file, wanted, instruction in MATRIX_UNIT:
                if (file, wanted) == (source.stem, target) and not re.search(instruction, ptx):
                    errors.append(f"{where}: expected {instruction}, got none")
    if errors:
        sys.exit("\n".join(errors))
    print(
        f"{total} kernels of {len(sources)} files: nothing spilled but {STACK_BYTES}, no fused canonical sum"
    )


if __name__ == "__main__":
    main()
