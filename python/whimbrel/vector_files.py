"""Read and write files of vectors: .npy .npz .fvecs .ivecs .bvecs .fbin .ibin .u8bin .hdf5.

Readers trust no length in a file: whatever does not fit is a ValueError that names the file. Large files
are mapped, not read.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["SUFFIXES", "read_vectors", "write_vectors"]

# TEXMEX (http://corpus-texmex.irisa.fr): each row is its length as int32, then its values.
VECS = {".fvecs": "<f4", ".ivecs": "<i4", ".bvecs": "u1"}
# Big-ANN-benchmarks: uint32 rows, uint32 columns, then the values.
BIN = {".fbin": "<f4", ".ibin": "<i4", ".u8bin": "u1"}
HDF5 = (".hdf5", ".h5")
SUFFIXES = (".npy", ".npz", *VECS, *BIN, *HDF5)


def read_vectors(path: str | os.PathLike[str], key: str | None = None) -> NDArray[Any]:
    """Read a matrix of vectors, one a row, in the dtype of the file.

    Parameters
    ----------
    path : path
        The suffix decides the format.
    key : str, optional
        Name of the array in an .npz or .hdf5 file. May be missing for an .npz file with one array; of an
        .hdf5 file (ann-benchmarks) it is then "train".

    Returns
    -------
    (n, d) array
        Of .npy, .*vecs and .*bin files a read-only view of the mapped file.

    Raises
    ------
    ValueError
        An unknown suffix, or a file that is damaged or holds something else.
    OSError
        If the file cannot be read.
    ImportError
        For .hdf5, if h5py is not installed.
    """
    file = Path(path)
    suffix = _known_suffix(file)
    if suffix in VECS:
        return _read_vecs(file, np.dtype(VECS[suffix]))
    if suffix in BIN:
        return _read_bin(file, np.dtype(BIN[suffix]))
    array = _read_hdf5(file, key or "train") if suffix in HDF5 else _read_numpy(file, key)
    if array.ndim != 2:
        raise ValueError(f"{file}: expected an array of 2 dimensions, got shape {array.shape}")
    return array


def write_vectors(path: str | os.PathLike[str], vectors: ArrayLike) -> None:
    """Write a matrix as .npy, .fvecs, .ivecs, .bvecs, .fbin, .ibin or .u8bin, by the suffix of `path`.

    Raises
    ------
    ValueError
        An unknown suffix, an array that is not (n, d), or values that the format cannot hold.
    """
    file = Path(path)
    array = np.asarray(vectors)
    if array.ndim != 2:
        raise ValueError(f"vectors: expected shape (n, d), got {array.shape}")
    suffix = _known_suffix(file)
    if suffix == ".npy":
        np.save(file, array, allow_pickle=False)
    elif suffix in VECS:
        values = _converted(array, np.dtype(VECS[suffix]), suffix)
        width = np.full((len(values), 1), values.shape[1], dtype="<i4").view("u1")
        rows = np.ascontiguousarray(values).view("u1").reshape(len(values), -1)
        np.hstack([width, rows]).tofile(file)
    elif suffix in BIN:
        values = _converted(array, np.dtype(BIN[suffix]), suffix)
        with file.open("wb") as out:
            np.array(values.shape, dtype="<u4").tofile(out)
            np.ascontiguousarray(values).tofile(out)
    else:
        raise ValueError(f"{file}: expected a suffix that can be written, got {suffix}")


def _known_suffix(file: Path) -> str:
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{file}: expected a file name ending in {', '.join(SUFFIXES)}, got {suffix!r}")
    return suffix


def _read_vecs(file: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    with file.open("rb") as f:
        head = np.frombuffer(f.read(4), dtype="u1")
    if len(head) < 4:
        raise ValueError(f"{file}: expected rows that start with their length, got {len(head)} bytes")
    dim = int(head.view("<i4")[0])
    size, width = file.stat().st_size, 4 + dim * dtype.itemsize
    if dim <= 0 or size % width != 0:
        raise ValueError(
            f"{file}: expected rows of {dim} values, got {size} bytes, which is no multiple of one"
        )
    raw = np.memmap(file, dtype="u1", mode="r", shape=(size // width, width))
    if np.any(raw[:, :4] != head):
        raise ValueError(f"{file}: expected rows of equal length, got another than {dim}")
    # A row starts at any byte, so the values of .bvecs are bytes and those of the others stay aligned to 4.
    return np.asarray(raw)[:, 4:].view(dtype)


def _read_bin(file: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    with file.open("rb") as f:
        head = np.frombuffer(f.read(8), dtype="u1")
    if len(head) < 8:
        raise ValueError(f"{file}: expected 8 bytes of rows and columns, got {len(head)} bytes")
    rows, dim = (int(x) for x in head.view("<u4"))
    size, expected = file.stat().st_size, 8 + rows * dim * dtype.itemsize
    if size != expected or dim == 0:
        raise ValueError(
            f"{file}: expected {rows} rows of {dim} values in {expected} bytes, got {size} bytes"
        )
    if rows == 0:
        return np.empty((0, dim), dtype)
    return np.asarray(np.memmap(file, dtype=dtype, mode="r", offset=8, shape=(rows, dim)))


def _read_numpy(file: Path, key: str | None) -> NDArray[Any]:
    try:
        if file.suffix.lower() == ".npy":
            return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
        with file.open("rb") as f, np.load(f, allow_pickle=False) as arrays:
            if key is None and len(arrays.files) == 1:
                key = arrays.files[0]
            if key not in arrays.files:
                raise ValueError(f"expected the name of one of its arrays {arrays.files}, got {key!r}")
            return np.asarray(arrays[key])
    except (ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file}: {error}") from error


def _read_hdf5(file: Path, key: str) -> NDArray[Any]:
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"{file}: reading HDF5 needs h5py: pip install 'whimbrel[bench]'") from error
    file.open("rb").close()  # the error of a missing or forbidden file is the system's own
    try:
        with h5py.File(file, "r") as data:
            if not isinstance(data.get(key), h5py.Dataset):
                raise ValueError(f"expected the name of one of its arrays {sorted(data)}, got {key!r}")
            return np.asarray(data[key])
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"{file}: {error}") from error


def _converted(array: NDArray[Any], dtype: np.dtype[Any], suffix: str) -> NDArray[Any]:
    if array.dtype.kind not in "biuf" or array.shape[1] == 0:
        raise ValueError(f"vectors: expected numbers in at least one column, got {array.dtype} {array.shape}")
    with np.errstate(all="ignore"):
        values = array.astype(dtype)
    if dtype.kind != "f" and not np.array_equal(values, array):
        raise ValueError(f"vectors: expected values that {suffix} can hold ({dtype.name}), got others")
    return values
