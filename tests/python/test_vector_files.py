"""Files of vectors: what is written comes back, and what is damaged is an error that names the file."""

import struct

import numpy as np
import pytest
import whimbrel as wb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

DTYPES = {
    ".npy": np.float32,
    ".fvecs": np.float32,
    ".ivecs": np.int32,
    ".bvecs": np.uint8,
    ".fbin": np.float32,
    ".ibin": np.int32,
    ".u8bin": np.uint8,
}
ANY_SUFFIX = pytest.mark.parametrize("suffix", DTYPES)


@st.composite
def matrices(draw, dtype, min_rows):
    shape = draw(st.integers(min_rows, 12)), draw(st.integers(1, 40))
    return draw(hnp.arrays(dtype, shape, elements={"allow_nan": False} if dtype is np.float32 else None))


@ANY_SUFFIX
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_is_written_comes_back(suffix, data, tmp_path):
    # An empty .*vecs file has no row to tell its dimension.
    vectors = data.draw(matrices(DTYPES[suffix], 1 if suffix.endswith("vecs") else 0))
    path = tmp_path / f"x{suffix}"
    wb.write_vectors(path, vectors)
    back = wb.read_vectors(str(path))
    assert back.dtype == vectors.dtype
    np.testing.assert_array_equal(back, vectors)


@ANY_SUFFIX
def test_vectors_of_a_file_can_be_searched(suffix, tmp_path):
    vectors = np.random.default_rng(0).integers(0, 255, (40, 6))
    wb.write_vectors(tmp_path / f"x{suffix}", vectors)
    read = wb.read_vectors(tmp_path / f"x{suffix}")
    np.testing.assert_array_equal(wb.knn(read, k=3).ids, wb.knn(vectors, k=3).ids)


@ANY_SUFFIX
def test_any_truncation_is_an_error(suffix, tmp_path):
    path = tmp_path / f"x{suffix}"
    wb.write_vectors(path, np.arange(15).reshape(3, 5))
    whole = path.read_bytes()
    rows_of_vecs = {len(whole) // 3, 2 * len(whole) // 3} if suffix.endswith("vecs") else set()
    for size in set(range(len(whole))) - rows_of_vecs:
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=f"x{suffix}: "):
            wb.read_vectors(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.fvecs", struct.pack("<ifif", 1, 0.5, 2, 0.5)),  # rows of unequal length
        ("x.fvecs", struct.pack("<i", 0) * 4),
        ("x.fvecs", struct.pack("<if", -1, 0.5)),
        ("x.bvecs", struct.pack("<i", 2**31 - 1)),
        ("x.fbin", struct.pack("<II", 2**32 - 1, 2**32 - 1)),
        ("x.fbin", struct.pack("<II", 3, 0)),
        ("x.u8bin", struct.pack("<IIb", 1, 2, 0)),
        ("x.npy", b"\x93NUMPY\x01\x00"),
        ("x.npy", b"not at all"),
        ("x.npz", b"PK\x03\x04 and then nothing"),
        ("x.npz", b""),
        ("x.txt", b"1 2 3"),
        ("x", b""),
    ],
)
def test_damaged_and_foreign_files_are_errors(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}: "):
        wb.read_vectors(tmp_path / name)


def test_arrays_of_another_kind_are_errors(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(ValueError, match=r"x\.npy: expected an array of 2 dimensions"):
        wb.read_vectors(tmp_path / "x.npy")
    np.save(tmp_path / "x.npy", np.array([[{}]]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"x\.npy: "):
        wb.read_vectors(tmp_path / "x.npy")


@ANY_SUFFIX
def test_a_missing_file_is_an_os_error(suffix, tmp_path):
    with pytest.raises(FileNotFoundError):
        wb.read_vectors(tmp_path / f"x{suffix}")


def test_an_archive_needs_a_key_unless_it_has_one_array(tmp_path):
    path, a, b = tmp_path / "x.npz", np.eye(3), np.ones((2, 2))
    np.savez(path, a=a)
    np.testing.assert_array_equal(wb.read_vectors(path), a)
    np.savez(path, a=a, b=b)
    np.testing.assert_array_equal(wb.read_vectors(path, "b"), b)
    for key in (None, "c"):
        with pytest.raises(ValueError, match=r"x\.npz: expected the name of one of its arrays \['a', 'b'\]"):
            wb.read_vectors(path, key)


@pytest.mark.parametrize(
    ("suffix", "vectors"),
    [
        (".bvecs", [[256]]),
        (".u8bin", [[-1]]),
        (".ivecs", [[0.5]]),
        (".ibin", [[2**31]]),
        (".fvecs", [["a"]]),
        (".fvecs", np.empty((1, 0))),
        (".fvecs", [1.0]),
        (".npz", [[1.0]]),
        (".hdf5", [[1.0]]),
        (".csv", [[1.0]]),
    ],
)
def test_what_a_format_cannot_hold_is_an_error(suffix, vectors, tmp_path):
    with pytest.raises(ValueError, match="expected"):
        wb.write_vectors(tmp_path / f"x{suffix}", vectors)
    assert list(tmp_path.iterdir()) == []


def test_benchmark_files_have_named_arrays(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "x.hdf5"
    with h5py.File(path, "w") as f:
        f["train"], f["test"] = np.eye(4, dtype=np.float32), np.ones((2, 4))
        f.create_group("group")
    np.testing.assert_array_equal(wb.read_vectors(path), np.eye(4))
    np.testing.assert_array_equal(wb.read_vectors(path, "test"), np.ones((2, 4)))
    for key in ("neighbors", "group"):
        with pytest.raises(ValueError, match=r"x\.hdf5: expected the name of one of its arrays"):
            wb.read_vectors(path, key)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"x\.hdf5: "):
        wb.read_vectors(path)
    with pytest.raises(FileNotFoundError):
        wb.read_vectors(tmp_path / "y.hdf5")


def test_without_h5py_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ImportError, match=r"pip install 'whimbrel\[bench\]'"):
        wb.read_vectors(tmp_path / "x.hdf5")
