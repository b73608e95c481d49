"""What a built package promises of its CUDA module, without a GPU: size, symbols, libraries, targets, import.

    python tests/gates/cuda_module.py FOLDER TARGET...

FOLDER holds the installed package; targets are named as in CMAKE_CUDA_ARCHITECTURES ("80-virtual 90a-real").
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

MAX_BYTES = 15 * 2**20
FATBIN_MAGIC = 0xBA55ED50
KINDS = {1: "virtual", 2: "real"}
ARCHITECTURE_SPECIFIC = 1 << 20  # flag of an entry: the "a" of 90a


def fatbin_targets(module: bytes) -> set[str]:
    """Targets of all kernels: read off the fat binaries that nvcc embeds, whose entries name theirs.

    A fat binary is a header of 16 bytes (magic, version, its size, bytes that follow) and entries of a header
    (kind, version, its size, bytes that follow, ..., at 28 the architecture, at 40 flags) and a body.
    """
    targets = set()
    start = module.find(struct.pack("<I", FATBIN_MAGIC))
    while start >= 0:
        _, _, header, size = struct.unpack_from("<IHHQ", module, start)
        at, end = start + header, start + header + size
        while at < end:
            kind, _, header, size = struct.unpack_from("<HHIQ", module, at)
            (architecture,) = struct.unpack_from("<I", module, at + 28)
            (flags,) = struct.unpack_from("<Q", module, at + 40)
            suffix = "a" if flags & ARCHITECTURE_SPECIFIC else ""
            targets.add(f"{architecture}{suffix}-{KINDS.get(kind, kind)}")
            at += header + size
        start = module.find(struct.pack("<I", FATBIN_MAGIC), end)
    return targets


def output(*command: str, **environment: str) -> str:
    """Return what a command printed."""
    env = {**os.environ, **environment}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout


def main() -> None:
    """Check one module; exit with what is wrong."""
    folder, claimed = Path(sys.argv[1]), set(sys.argv[2:])
    (module,) = (folder / "whimbrel").glob("_cuda.*.so")
    errors = []

    def expect(what: str, wanted: object, found: object) -> None:
        if wanted != found:
            errors.append(f"{what}: expected {wanted}, got {found}")

    size = module.stat().st_size
    if size > MAX_BYTES:
        errors.append(f"size: expected at most {MAX_BYTES} bytes, got {size}")
    expect("targets", sorted(claimed), sorted(fatbin_targets(module.read_bytes())))
    symbols = [line.split()[-1] for line in output("nm", "-D", "--defined-only", str(module)).splitlines()]
    expect("exported symbols", ["PyInit__cuda"], symbols)
    libraries = re.findall(r"lib(?:cu|nv)\w*", output("ldd", str(module)))
    expect("CUDA libraries", [], libraries)
    program = (
        "import sys, whimbrel as wb; assert 'whimbrel._cuda' not in sys.modules; "
        "import whimbrel._cuda; print(wb.cuda.is_available())"
    )
    hidden = output(
        sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(folder)!r}); {program}",
        CUDA_VISIBLE_DEVICES="",
    )  # fmt: skip
    expect("is_available() without a device", "False", hidden.strip())
    if errors:
        sys.exit("\n".join(errors))
    print(f"{module.name}: {size / 2**20:.1f} MB, {', '.join(sorted(claimed))}")


if __name__ == "__main__":
    main()
