"""Data sets of the harness: files of the caller, ground truth, what is stored."""

import gzip
import json

import numpy as np
import pytest
import whimbrel as wb
from bench_rows import bench

from bench import cur_beds, data, neighbors, results, stored_data
from bench.dataset import DataError, DataSet
from bench.macro import bench_cur


def test_files_of_the_caller_are_data_sets(tmp_path):
    rng = np.random.default_rng(0)
    wb.write_vectors(tmp_path / "b.fvecs", rng.random((50, 8)))
    wb.write_vectors(tmp_path / "q.fbin", rng.random((5, 8)))
    rows = data.load(f"{tmp_path}/b.fvecs,{tmp_path}/q.fbin,cosine")
    assert (rows.name, rows.metric, rows.base.shape, rows.queries.shape) == ("b", "cosine", (50, 8), (5, 8))
    np.testing.assert_allclose(np.linalg.norm(rows.base, axis=1), 1, rtol=1e-6)
    np.save(tmp_path / "other.npy", np.zeros((5, 7)))
    with pytest.raises(DataError, match="expected queries of dimension 8, got 7"):
        data.load(f"{tmp_path}/b.fvecs,{tmp_path}/other.npy,l2")
    with pytest.raises(DataError, match="expected a metric of l2, ip, cosine, got 'l1'"):
        data.load(f"{tmp_path}/b.fvecs,{tmp_path}/q.fbin,l1")


def test_a_broken_file_is_one_clear_line(tmp_path, in_checkout):
    (tmp_path / "b.fvecs").write_bytes(b"\x08\0\0\0short")
    np.save(tmp_path / "q.npy", np.zeros((5, 8)))
    message = bench("--datasets", f"{tmp_path}/b.fvecs,{tmp_path}/q.npy", "--out", tmp_path / "out")
    assert message.startswith("error: ")
    assert "b.fvecs: expected rows of 8 values" in message
    (tmp_path / "vec").mkdir()
    (tmp_path / "vec/mnist784_u8.npz").write_bytes(b"not an archive")
    message = bench("--data", tmp_path, "--datasets", "mnist-784", "--out", tmp_path / "out")
    assert "mnist784_u8.npz: cannot be read" in message


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.full((20, 8), np.nan), "expected finite values"),
        (np.full((20, 8), 1e300), "expected finite values"),
        (np.zeros((20, 8), complex), "expected rows of real numbers, got complex128"),
        (np.zeros((0, 8)), r"expected rows of real numbers, got float64 of shape \(0, 8\)"),
        (np.zeros(8), "expected an array of 2 dimensions"),
    ],
)
def test_rows_that_cannot_be_measured_are_refused(tmp_path, rows, message):
    np.save(tmp_path / "b.npy", rows)
    np.save(tmp_path / "q.npy", np.zeros((5, 8)))
    with pytest.raises(DataError, match=f"b.npy: {message}"):
        data.load(f"{tmp_path}/b.npy,{tmp_path}/q.npy,l2")


def test_broken_hdf5_files_are_one_clear_line(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "x.hdf5"
    with pytest.raises(DataError, match=r"x\.hdf5: No such file"):
        data.load(str(path))
    path.write_bytes(b"not hdf5")
    with pytest.raises(DataError, match=r"x\.hdf5: "):
        data.load(str(path))
    with h5py.File(path, "w") as file:
        file["train"] = np.zeros((20, 8))
    with pytest.raises(DataError, match=r"x\.hdf5: .*'test'"):
        data.load(str(path))
    with h5py.File(path, "a") as file:
        file["test"] = np.zeros((5, 8))
        file.attrs["distance"] = "hamming"
    with pytest.raises(DataError, match="expected a distance of euclidean, angular, ip, dot, got 'hamming'"):
        data.load(str(path))


def test_unknown_names_are_refused(tmp_path, in_checkout, capsys):
    assert bench("--datasets", "sift", "--out", tmp_path) == 2
    assert "expected one of minilm-100k, mnist-784" in capsys.readouterr().err
    assert bench("--engines", "annoy", "--out", tmp_path) == 2
    assert "engine: expected one of whimbrel, hnswlib" in capsys.readouterr().err
    assert bench("--baseline", "faiss", "--out", tmp_path) == 2
    assert "baseline: expected one of hnswlib, whimbrel" in capsys.readouterr().err
    for flag in ("--n", "--queries", "--repetitions", "--threads", "--M"):
        assert bench(flag, "0", "--out", tmp_path) == 2
        assert f"{flag}: expected a whole number of at least 1, got '0'" in capsys.readouterr().err
    assert "mnist-784 is read from a folder" in bench("--datasets", "mnist-784", "--out", tmp_path)
    assert not (tmp_path / "search.jsonl").exists()


def test_ground_truth_is_computed_again_when_its_file_is_damaged(tmp_path):
    rng = np.random.default_rng(1)
    base, queries = rng.random((40, 4), np.float32), rng.random((3, 4), np.float32)
    rows = DataSet("toy", "l2", base, queries, None, "")
    expected = wb.knn(base, queries, 10).ids
    np.testing.assert_array_equal(neighbors.ground_truth(rows, tmp_path), expected)
    (path,) = tmp_path.glob("toy-*-truth10.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    np.testing.assert_array_equal(neighbors.ground_truth(rows, tmp_path), expected)
    np.savez(path, values=expected + 1, checksum="0")
    np.testing.assert_array_equal(neighbors.ground_truth(rows, tmp_path), expected)


def test_a_stored_set_is_read_back(tmp_path):
    base = np.arange(12, dtype=np.float32).reshape(6, 2)
    rows = DataSet("toy", "l2", base, base[:2], np.arange(6), "six rows")
    folder = stored_data.store(rows, tmp_path)
    assert stored_data.store(rows, tmp_path) == folder
    again = stored_data.read(folder)
    assert again.checksum() == rows.checksum()
    assert again.description == "six rows"
    (folder / "base.npy").write_bytes(b"")
    with pytest.raises(DataError, match="damaged, remove it"):
        stored_data.read(folder)


@pytest.fixture
def matrix(tmp_path):
    """Scores of 9 queries and 120 items of the collection "toy", as they are written to a file."""
    (tmp_path / "text/toy").mkdir(parents=True)
    ids = {"queries": [f"q{i}" for i in range(9)], "corpus": [f"d{i}" for i in range(120)]}
    for kind, names in ids.items():
        with gzip.open(tmp_path / f"text/toy/{kind}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps({"_id": n, "text": f"word{int(n[1:]) % 7}"}) + "\n" for n in names)
    scores = np.random.default_rng(4).standard_normal((9, 120)).astype(np.float16)
    return {"scores": scores, "query_ids": np.array(ids["queries"]), "item_ids": np.array(ids["corpus"])}


def test_a_matrix_of_scores_is_searched(tmp_path, in_checkout, monkeypatch, capsys, matrix):
    monkeypatch.setattr(bench_cur, "BUDGETS", (110, 500))  # 500 is more than there is
    np.savez(tmp_path / "toy_small.npz", **matrix)
    bed = cur_beds.cross_encoder(tmp_path, tmp_path / "toy_small.npz")
    assert (bed.scores.shape, bed.n_anchors, bed.n_tests) == ((9, 120), 6, 3)
    np.testing.assert_array_equal(bed.first_stage[1] > 0, np.arange(120) % 7 == 1)
    words = ["cur", "--data", tmp_path, "--scores", tmp_path / "toy_small.npz", "--out", tmp_path / "x"]
    for _ in range(2):  # the second time nothing is measured
        assert bench(*words, "--datasets", "cross-encoder", "--splits", "1") is None
    rows = results.ResultFile(tmp_path / "x").rows("cur")
    half = len(rows) // 2
    assert [row["recall"] for row in rows[half:]] == [row["recall"] for row in rows[:half]]
    assert capsys.readouterr().err.count("split 0, budget 110 done") == 1
    lines = (tmp_path / "x").read_text().splitlines(keepends=True)
    (tmp_path / "x").write_text("".join(lines[:4]))  # the machine, and three methods before an interruption
    assert bench(*words, "--datasets", "cross-encoder", "--splits", "1") is None
    assert "split 0, budget 110 done" in capsys.readouterr().err
    again = results.ResultFile(tmp_path / "x").rows("cur")[3:]
    assert [row["recall"] for row in again] == [row["recall"] for row in rows[:half]]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("toy", {"scores": np.zeros((9, 119))}, r"expected floats of shape \(9, 120\), as many as ids"),
        ("toy", {"scores": np.zeros((9, 120), int)}, "got int64"),
        ("toy", {"scores": np.full((9, 120), np.nan)}, "expected finite values"),
        ("toy", {"query_ids": np.array(["q0"] * 8 + ["q99"])}, "got none for 'q99'"),
        ("toy", {"query_ids": np.array(["q0"]), "scores": np.zeros((1, 120))}, "got 1 and 120"),
        ("other", {}, "no such file; a matrix is named after the collection"),
    ],
)
def test_a_matrix_that_cannot_be_searched_is_refused(tmp_path, matrix, name, change, message):
    np.savez(tmp_path / f"{name}.npz", **{**matrix, **change})
    with pytest.raises(DataError, match=message):
        cur_beds.cross_encoder(tmp_path, tmp_path / f"{name}.npz")
