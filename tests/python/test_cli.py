"""The command line, run in this process except where the process itself is the subject."""

import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import reference
import whimbrel as wb
from whimbrel.cli import main


def run(command):
    """The exit code of a command line."""
    return main(command.split())


@pytest.fixture
def files(tmp_path, monkeypatch, cube):
    """Run in an empty directory with base.fvecs and queries.npy."""
    monkeypatch.chdir(tmp_path)
    wb.write_vectors("base.fvecs", cube[0])
    np.save("queries.npy", cube[1])
    return cube


def test_info_describes_the_machine(capsys):
    assert run("info") == 0
    printed = capsys.readouterr().out
    assert wb.__version__ in printed
    assert f"{wb.active_isa()} (of {', '.join(wb.available_isas())})" in printed


def test_build_info_search_and_recall(files, capsys):
    base, queries = files
    command = "build base.fvecs --M 8 --order lid_descending --seed 4 --threads 2 --out x.whb"
    assert run(command) == 0
    assert "2,000 vectors of dimension 16" in capsys.readouterr().out
    index = wb.HnswIndex.load("x.whb")
    assert index.dumps() == wb.HnswIndex.build(base, M=8, order="lid_descending", seed=4).dumps()

    assert run("info x.whb") == 0
    assert "2,000 x 16, l2" in capsys.readouterr().out

    np.save("truth.npy", wb.knn(base, queries, 20).ids)
    hits = index.search(queries, 5, ef_search=50)
    command = "search x.whb queries.npy -k 5 --ef 50 --ground-truth truth.npy"
    assert run(f"{command} --out hits.npy") == 0
    np.testing.assert_array_equal(np.load("hits.npy"), hits.ids)
    recall = reference.recall(hits.ids, wb.knn(base, queries, 5).ids)
    assert f"recall@5 {recall:.4f}" in capsys.readouterr().err

    assert run(f"{command} --out hits.npz") == 0
    np.testing.assert_array_equal(np.load("hits.npz")["distances"], hits.distances)

    assert run(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 100
    assert [int(hit.split(":")[0]) for hit in lines[0].split()] == hits.ids[0].tolist()


def test_build_by_category(files):
    labels = np.array(["a", "b"])[np.arange(2000) % 2]
    np.save("labels.npy", labels)
    command = "build base.fvecs --metric cosine --order category --labels labels.npy --out x.whb"
    assert run(command) == 0
    expected = wb.HnswIndex.build(files[0], metric="cosine", order="category", labels=labels)
    assert wb.HnswIndex.load("x.whb").dumps() == expected.dumps()


def test_lid_prints_a_report_and_saves_estimates(files, capsys):
    assert run("lid base.fvecs -k 30 --out lid.npy") == 0
    assert capsys.readouterr().out == f"{wb.lid_report(files[0], 30)}\n"
    np.testing.assert_array_equal(np.load("lid.npy"), wb.estimate_lid(files[0], 30))


def test_benchmark_files_have_default_keys(files, capsys):
    h5py = pytest.importorskip("h5py")
    base, queries = files
    with h5py.File("x.hdf5", "w") as f:
        f["train"], f["test"], f["neighbors"] = base, queries, wb.knn(base, queries, 10).ids
    assert run("build x.hdf5 --out x.whb") == 0
    assert run("search x.whb x.hdf5 --ef 2000 --ground-truth x.hdf5 --out hits.npy") == 0
    assert "recall@10 1.0000" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("info missing.whb", "missing.whb: No such file or directory"),
        ("info queries.npy", "whimbrel"),
        ("build missing.npy --out x.whb", "missing.npy: No such file"),
        ("build base.fvecs --M 1 --out x.whb", "M: expected 2..512, got 1"),
        ("build base.fvecs --metric l1 --out x.whb", "metric: expected"),
        ("build base.fvecs --order upwards --out x.whb", "order: expected"),
        ("build base.fvecs --order category --out x.whb", "labels: expected"),
        ("build base.fvecs --out missing/x.whb", "missing/x.whb: No such file or directory"),
        ("build base.fvecs --out base.fvecs/x.whb", "base.fvecs/x.whb: "),
        ("build base.csv --out x.whb", "base.csv: expected a file name ending in"),
        ("lid base.fvecs -k 1", "k: expected 2.."),
        ("lid queries.npy --metric ip", "metric: expected 'l2' or 'cosine', got 'ip'"),
        ("demo --passages 1", "passages: expected at least"),
        ("demo --task multivector --passages 1", "passages: expected at least"),
        ("demo --task cross-encoder --passages 1", "passages: expected at least"),
        ("demo --model x", "--model: expected with --task cross-encoder only"),
    ],
)
def test_errors_are_one_line_and_code_2(files, command, text, capsys):
    assert run(command) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("whimbrel: ")
    assert text in shown.err
    assert shown.err.count("\n") == 1


def test_bad_usage_has_code_2(capsys):
    for command in ("", "fly", "build"):
        with pytest.raises(SystemExit) as caught:
            run(command)
        assert caught.value.code == 2
    capsys.readouterr()


def test_the_module_runs(files):
    done = subprocess.run(
        [sys.executable, "-m", "whimbrel", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"whimbrel {wb.__version__}\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_has_code_130_and_leaves_no_file(tmp_path):
    np.save(tmp_path / "many.npy", np.random.default_rng(0).random((200_000, 64), dtype=np.float32))
    command = [sys.executable, "-c", INTERRUPTED, "build", "many.npy", "--out", "x.whb"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 130
    assert done.stderr == "whimbrel: interrupted\n"
    assert [p.name for p in tmp_path.iterdir()] == ["many.npy"]


# A signal to itself after a moment, as Ctrl-C would send.
INTERRUPTED = f"""
import os, sys, threading
from whimbrel.cli import main
threading.Timer(1.0, os.kill, [os.getpid(), {int(signal.SIGINT)}]).start()
sys.exit(main(sys.argv[1:]))
"""


def test_demo_shows_the_main_job(capsys):
    assert run("demo --passages 1500") == 0
    printed = capsys.readouterr().out
    for text in ("1,500 passages", "harmonic mean", "LID descending", "recall@10", "read the lines"):
        assert text in printed
    assert max(map(len, printed.splitlines())) <= 110
    run("demo --passages 1500 --threads 1")
    again = capsys.readouterr().out
    assert [without_times(line) for line in again.splitlines()] == [
        without_times(line) for line in printed.splitlines()
    ]


def test_demo_of_token_vectors(capsys, monkeypatch):
    monkeypatch.setattr("whimbrel.demo_multi_vector._has_model", lambda: False)
    assert run("demo --task multivector --passages 700") == 0
    printed = capsys.readouterr().out
    for text in ("700 passages", "a vector per word", "MiB with compressed", "recall@10", "read the lines"):
        assert text in printed
    assert max(map(len, printed.splitlines())) <= 110
    row = next(line.split() for line in printed.splitlines() if line.split()[:1] == ["200"])
    assert float(row[1]) >= 0.9


def test_demo_of_a_cross_encoder_beats_its_first_stage(capsys):
    assert run("demo --task cross-encoder --passages 600") == 0
    printed = capsys.readouterr().out
    rows = dict(re.findall(r"^   (random|first stage, re-ranked|whimbrel)((?: +[\d.]+)+)$", printed, re.M))
    recalls = {name: [float(x) for x in values.split()] for name, values in rows.items()}
    assert all(
        a > b - 0.02 for a, b in zip(recalls["whimbrel"], recalls["first stage, re-ranked"], strict=True)
    )
    assert recalls["random"][0] < 0.3 < recalls["whimbrel"][0]
    assert "low-rank" in printed
    assert "read the lines" in printed
    assert max(map(len, printed.splitlines())) <= 110
    run("demo --task cross-encoder --passages 600 --threads 1")
    again = capsys.readouterr().out
    assert [without_times(line) for line in again.splitlines()] == [
        without_times(line) for line in printed.splitlines()
    ]


def without_times(line):
    """The line without numbers of seconds."""
    return re.sub(r"\d+\.\d s|\d+ ms", "", line)
