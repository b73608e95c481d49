"""What this process occupies. Linux tells more than other systems; what is not known is None."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

from .dataset import DataError

STATUS = Path("/proc/self/status")


def _status(field: str) -> int | None:
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":")), None)


def resident_bytes() -> int | None:
    """Resident memory, pages of files included."""
    return _status("VmRSS")


def anonymous_bytes() -> int:
    """Resident memory that no file backs."""
    known = _status("RssAnon")
    if known is None:
        raise DataError("/proc/self/status has no RssAnon: this bench needs Linux")
    return known


def reset_peak() -> bool:
    """Let the peak start from what is resident now; False where the system does not allow it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_bytes() -> int | None:
    """Most resident memory since `reset_peak`."""
    return _status("VmHWM")


def trim() -> None:
    """Give freed memory back to the system, where the C library can."""
    gc.collect()
    give = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give is not None:
        give(0)
