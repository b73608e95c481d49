"""The harness's own logic: interpolation, resume, comparison, files, reports. Nothing here asserts a time."""

import importlib
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import whimbrel as wb
from whimbrel.cli import main

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # bench/ is part of the checkout, not of the package

from bench import compare, data, engines, report, results, stored_data  # noqa: E402
from bench.macro import bench_search, search_report, search_results  # noqa: E402
from bench.worker import WorkerError  # noqa: E402

MACHINE = {
    "kind": "machine",
    "cpu": "test",
    "cores": 2,
    "isa": "none",
    "versions": {"whimbrel": "1"},
    "commit": "c0ffee",
}
COMMON = {
    "dataset": "toy",
    "n": 10,
    "dim": 2,
    "queries": 3,
    "metric": "l2",
    "checksum": "0123",
    "M": 16,
    "ef_construction": 200,
    "threads": 2,
    "k": 10,
    "timed": 100,
    "least_seconds": 0.1,
}
RECALLS = (0.85, 0.92, 0.97, 0.995)


def rows_of(engine, speed, repetitions=3, version="1"):
    """Build, sweep and passes of one engine whose speed falls tenfold from the first point to the last."""
    same = {**COMMON, "engine": engine, "seed": 1, "version": version, "core": None}
    build = {"seconds": 2.0, "peak_bytes": 2**21, "resident_bytes": 2**20, "disk_bytes": 2**20}
    points = [
        {"value": 10 * i, "recall": r, "distances": 100 * i, "hops": None} for i, r in enumerate(RECALLS, 1)
    ]
    rows = [
        {"kind": "build", **same, "repetition": 0, **build},
        {"kind": "sweep", **same, "repetition": 0, "parameter": "ef", "points": points},
    ]
    for repetition in range(repetitions):
        timed = []
        for point in points:
            qps = speed * (1 + 0.01 * repetition) / point["value"]
            names = ("single", "batch", "batch_threads", "p50_us", "p95_us", "p99_us")
            timed.append({"value": point["value"], "recall": point["recall"], **dict.fromkeys(names, qps)})
        rows.append({"kind": "pass", **same, "repetition": repetition, "points": timed})
    return rows


def plan_of(names):
    return {"kind": "plan", **COMMON, "engines": names, "seeds": [1]}


def write_rows(path, rows, machine=MACHINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in [machine, *rows]))
    return results.ResultFile(path)


def a_run(path, speed=1000.0, machine=MACHINE):
    """A whole result file: hnswlib, and whimbrel twice as fast and measured twice."""
    names = ["hnswlib", "whimbrel", "whimbrel#2"]
    rows = [plan_of(names), *rows_of("hnswlib", speed)]
    return write_rows(
        path, rows + rows_of("whimbrel", 2 * speed) + rows_of("whimbrel#2", 2.02 * speed), machine
    )


def bench(*words):
    """Run `whimbrel bench` from the checkout and return the message of its exit, or None."""
    try:
        main(["bench", *map(str, words)])
    except SystemExit as done:
        return done.code
    return None


@pytest.fixture
def in_checkout(monkeypatch):
    monkeypatch.chdir(ROOT)


# ---------------------------------------------------------------- numbers


def test_speeds_are_interpolated_in_the_logarithm_and_never_extrapolated():
    points = [(0.8, 1000.0), (1.0, 10.0)]
    assert results.at_recall(points, 0.9) == pytest.approx(100.0)
    assert results.at_recall(points, 0.8) == pytest.approx(1000.0)
    assert results.at_recall(points, 0.79) is None
    assert results.at_recall(points[:1], 0.9) is None
    assert results.at_recall([], 0.9) is None


def test_ratios_are_taken_within_a_repetition():
    fast, slow = {(1, 0): 30.0, (1, 1): 10.0, (1, 2): 7.0}, {(1, 0): 10.0, (1, 1): 5.0}
    assert search_results.ratios(fast, slow) == [3.0, 2.0]


def test_a_level_below_the_fastest_point_is_a_bound():
    measured = search_results.Measured("x", [], [], rows_of("x", 1000.0)[2:], None)
    values, bound = measured.at("single", 0.80)
    assert bound
    assert values[1, 0] == pytest.approx(1000.0 / 10)
    values, bound = measured.at("single", 0.95)
    assert not bound
    assert 1000.0 / 30 < values[1, 0] < 1000.0 / 20
    assert measured.at("single", 0.999) == ({}, False)


def test_points_beside_each_level_are_timed():
    points = [{"value": i, "recall": r} for i, r in enumerate((0.5, 0.8, 0.89, 0.91, 0.93, 0.94, 0.96, 0.98))]
    assert [p["value"] for p in bench_search.worth_timing(points)] == [0, 2, 3, 5, 6, 7]
    assert bench_search.worth_timing(points[:1]) == points[:1]


def test_recall_counts_ids_and_not_places():
    found, truth = np.array([[1, 2, -1]]), np.array([[2, 1, 3]])
    assert data.recall(found, truth) == pytest.approx(2 / 3)


# ---------------------------------------------------------------- result files


def test_a_cut_row_is_left_out_and_the_next_one_starts_a_line(tmp_path, capsys):
    path = tmp_path / "x.jsonl"
    path.write_text('{"kind": "a", "x": 1}\n{"kind": "a", "x')
    file = results.ResultFile(path)
    file.write("a", {"x": 2})
    assert [row["x"] for row in file.rows("a")] == [1, 2]
    assert capsys.readouterr().err.count("not a whole row") == 1
    assert file.find("a", {"x": 2})
    assert not file.find("a", {"x": 3})


def test_a_file_of_another_machine_is_refused(tmp_path):
    file = write_rows(tmp_path / "x.jsonl", [])
    with pytest.raises(data.DataError, match="another machine, test, 2 cores, none"):
        file.require_this_machine()


def test_engines_that_are_named_twice_are_told_apart():
    assert engines.distinct(["a", "a:M=8", "a"]) == ["a", "a:M=8", "a#2"]
    kind, options = engines.parse("whimbrel#2:M=8,order=random,keep_pruned=false")
    assert kind is engines.ENGINES["whimbrel"]
    assert options == {"M": 8, "order": "random", "keep_pruned": False}
    with pytest.raises(ValueError, match=r"engine: expected one of whimbrel, .*, got 'annoy'"):
        engines.parse("annoy")
    with pytest.raises(ValueError, match="engine: expected key=value, got 'fast'"):
        engines.parse("hnswlib:fast")


# ---------------------------------------------------------------- reports


def test_the_report_has_ratios_the_self_check_and_what_is_missing(tmp_path):
    names = ["hnswlib", "whimbrel", "whimbrel#2", "usearch", "ngt"]
    failed = {"kind": "failed", **COMMON, "engine": "usearch", "seed": 1, "version": None, "core": None}
    rows = [plan_of(names), *rows_of("hnswlib", 1000.0), *rows_of("whimbrel", 2000.0)]
    rows += [
        *rows_of("whimbrel#2", 2020.0),
        {**failed, "step": "build", "reason": "No module named 'usearch'"},
    ]
    out = write_rows(tmp_path / "search.jsonl", rows)
    text = search_report.write_report(out, tmp_path, "hnswlib")
    assert "2.00x (2.00..2.00)" in text
    assert "A/A check passed: whimbrel against itself has a median ratio of 1.010" in text
    assert "| usearch (failed in its build: No module named 'usearch') | - |" in text
    assert "| ngt (not measured yet) | - |" in text
    page = (tmp_path / "report.html").read_text()
    assert "usearch (failed in its build" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_the_self_check_can_fail(tmp_path):
    rows = [plan_of(["whimbrel", "whimbrel#2"]), *rows_of("whimbrel", 1000.0), *rows_of("whimbrel#2", 1100.0)]
    text = search_report.write_report(write_rows(tmp_path / "x.jsonl", rows), tmp_path, "whimbrel")
    assert "A/A check NOT PASSED" in text


def test_rows_of_older_builds_are_not_mixed_with_newer_ones(tmp_path):
    rows = [
        plan_of(["hnswlib"]),
        *rows_of("hnswlib", 1000.0, version="1"),
        *rows_of("hnswlib", 3000.0, version="2"),
    ]
    found = search_results.collect(rows, rows[0])
    assert {row["version"] for row in found[0].passes} == {"2"}
    assert len(found[0].builds) == 1


def test_html_is_escaped():
    page = report.to_html("t", [report.Table("<c>", ["a"], [["x<y"], [None]])])
    assert "x&lt;y" in page
    assert "<td>-</td>" in page
    assert "<c>" not in page


def test_pictures_are_part_of_the_page(tmp_path):
    pytest.importorskip("matplotlib")
    charts = importlib.import_module("bench.charts")
    search_report.write_report(a_run(tmp_path / "search.jsonl"), tmp_path, "hnswlib")
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 2
    assert (tmp_path / "pareto-toy.png").stat().st_size > 1000
    names = ["faiss-hnsw", "faiss-flat", "whimbrel", "whimbrel:M=8"]
    style = charts.styles(names)
    assert style["faiss-hnsw"]["color"] == style["faiss-flat"]["color"] != style["whimbrel"]["color"]
    assert style["whimbrel"]["linestyle"] != style["whimbrel:M=8"]["linestyle"]
    assert set(map(charts.library, engines.ENGINES)) == set(charts.COLOURS)


# ---------------------------------------------------------------- compare


def test_compare_tells_changes_from_noise(tmp_path):
    before, after = a_run(tmp_path / "a/x.jsonl", 1000.0), a_run(tmp_path / "b/x.jsonl", 1300.0)
    text = report.to_markdown(compare.compare(before, after))
    assert "| hnswlib | QPS at 0.95, batch, 1 thread |" in text
    assert "+30.0% | better |" in text
    assert "| hnswlib | build seconds | 2.00 | 2.00 | +0.0% | within noise |" in text
    same = report.to_markdown(compare.compare(before, a_run(tmp_path / "c/x.jsonl", 1005.0)))
    assert "better" not in same
    assert "worse" not in same


def test_compare_refuses_other_machines_unless_told_to(tmp_path, in_checkout, capsys):
    a_run(tmp_path / "a/search.jsonl")
    a_run(tmp_path / "b/search.jsonl", machine={**MACHINE, "cpu": "other"})
    assert "different machines (test, 2 cores, none; other, 2 cores, none)" in bench(
        "compare", tmp_path / "a", tmp_path / "b"
    )
    assert bench("compare", tmp_path / "a", tmp_path / "b", "--other-machine") is None
    assert "## toy" in capsys.readouterr().out
    assert "no such file" in bench("compare", tmp_path / "a", tmp_path / "missing.jsonl")


def test_compare_does_not_compare_different_settings(tmp_path):
    before = a_run(tmp_path / "a/x.jsonl")
    rows = [{**row, "M": 32} for row in [plan_of(["hnswlib"]), *rows_of("hnswlib", 9.0)]]
    after = write_rows(tmp_path / "b/x.jsonl", rows)
    assert "Not compared: measured with different settings, M 16 and 32" in report.to_markdown(
        compare.compare(before, after)
    )


# ---------------------------------------------------------------- data


def test_files_of_the_caller_are_data_sets(tmp_path):
    rng = np.random.default_rng(0)
    wb.write_vectors(tmp_path / "b.fvecs", rng.random((50, 8)))
    wb.write_vectors(tmp_path / "q.fbin", rng.random((5, 8)))
    rows = data.load(f"{tmp_path}/b.fvecs,{tmp_path}/q.fbin,cosine")
    assert (rows.name, rows.metric, rows.base.shape, rows.queries.shape) == ("b", "cosine", (50, 8), (5, 8))
    np.testing.assert_allclose(np.linalg.norm(rows.base, axis=1), 1, rtol=1e-6)
    np.save(tmp_path / "other.npy", np.zeros((5, 7)))
    with pytest.raises(data.DataError, match="expected queries of dimension 8, got 7"):
        data.load(f"{tmp_path}/b.fvecs,{tmp_path}/other.npy,l2")
    with pytest.raises(data.DataError, match="expected the metric l2, ip or cosine, got 'l1'"):
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


def test_unknown_names_are_refused(tmp_path, in_checkout, capsys):
    assert bench("--datasets", "sift", "--out", tmp_path) == 2
    assert "expected one of minilm-100k, mnist-784" in capsys.readouterr().err
    assert bench("--engines", "annoy", "--out", tmp_path) == 2
    assert "engine: expected one of whimbrel, hnswlib" in capsys.readouterr().err
    assert "mnist-784 is read from a folder" in bench("--datasets", "mnist-784", "--out", tmp_path)
    assert not (tmp_path / "search.jsonl").exists()


def test_ground_truth_is_computed_again_when_its_file_is_damaged(tmp_path):
    rng = np.random.default_rng(1)
    base, queries = rng.random((40, 4), np.float32), rng.random((3, 4), np.float32)
    rows = data.DataSet("toy", "l2", base, queries, None, "")
    expected = wb.knn(base, queries, 10).ids
    np.testing.assert_array_equal(data.ground_truth(rows, tmp_path), expected)
    (path,) = tmp_path.glob("toy-*-truth10.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    np.testing.assert_array_equal(data.ground_truth(rows, tmp_path), expected)
    np.savez(path, values=expected + 1, checksum="0")
    np.testing.assert_array_equal(data.ground_truth(rows, tmp_path), expected)


def test_a_stored_set_is_read_back(tmp_path):
    base = np.arange(12, dtype=np.float32).reshape(6, 2)
    rows = data.DataSet("toy", "l2", base, base[:2], np.arange(6), "six rows")
    folder = stored_data.store(rows, tmp_path)
    assert stored_data.store(rows, tmp_path) == folder
    again = stored_data.read(folder)
    assert again.checksum() == rows.checksum()
    assert again.description == "six rows"
    (folder / "base.npy").write_bytes(b"")
    with pytest.raises(data.DataError, match="damaged, remove it"):
        stored_data.read(folder)


# ---------------------------------------------------------------- runs


class FakeWorker:
    """Answers in place of a process; dies or is interrupted when it is told to."""

    calls: tuple = ()
    dies_in: tuple = ()
    interrupted_at: int | None = None

    def __init__(self, name, factory, *args, environment=None):
        self.name = name

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def call(self, method, *args, limit=0):
        if len(self.calls) == self.interrupted_at:
            raise KeyboardInterrupt
        self.calls.append((self.name, method))
        if (self.name, method) in self.dies_in:
            raise WorkerError(f"{self.name}: died in {method}, exit code -9")
        kind = {"run": 2, "sweep": 3, "speeds": 4}[method]
        rows = rows_of(self.name, 1000.0, repetitions=1)
        row = {"build": rows[0], "sweep": rows[1], "speeds": rows[2]}[
            {2: "build", 3: "sweep", 4: "speeds"}[kind]
        ]
        build, sweep, timed = rows_of(self.name, 1000.0, repetitions=1)
        if method == "speeds":
            return timed["points"]
        row = build if method == "run" else sweep
        identity = {*COMMON, "kind", "repetition", "engine", "seed", "version", "core"}
        return {name: value for name, value in row.items() if name not in identity}


@pytest.fixture
def fake(monkeypatch, in_checkout, tmp_path):
    """`whimbrel bench` on a small set of files with fake processes; the class that can be told to fail."""
    monkeypatch.setattr(FakeWorker, "calls", [])
    monkeypatch.setattr(bench_search, "Worker", FakeWorker)
    rng = np.random.default_rng(2)
    np.save(tmp_path / "toy.npy", rng.random((60, 4), np.float32))
    np.save(tmp_path / "q.npy", rng.random((5, 4), np.float32))

    def run(*more):
        words = ["--datasets", f"{tmp_path}/toy.npy,{tmp_path}/q.npy,l2", "--engines", "hnswlib", "whimbrel"]
        words += ["--repetitions", "2", "--out", tmp_path / "out", "--cache", tmp_path / "cache", *more]
        return bench(*words)

    run.worker = FakeWorker
    run.file = results.ResultFile(tmp_path / "out" / "search.jsonl")
    return run


def test_an_interrupted_run_keeps_its_rows_and_goes_on(fake, monkeypatch, capsys):
    monkeypatch.setattr(FakeWorker, "interrupted_at", 5)
    message = fake()
    assert message.startswith("interrupted; finished rows are in ")
    assert len(fake.file.rows("build")) == 3
    assert len(fake.file.rows("sweep")) == 2
    monkeypatch.setattr(FakeWorker, "interrupted_at", None)
    assert fake() is None
    assert len(FakeWorker.calls) == 3 + 3 + 2 * 3  # builds, sweeps, passes: none of them twice
    assert "A/A check passed: whimbrel against itself" in capsys.readouterr().out
    assert fake() is None
    assert len(FakeWorker.calls) == 12


def test_other_settings_are_measured_anew(fake):
    assert fake() is None
    assert fake("--M", "8") is None
    assert len(FakeWorker.calls) == 24
    assert fake("--repetitions", "3", "--M", "8") is None
    assert len(FakeWorker.calls) == 24 + 3 + 3  # the third passes, and their indexes, which were gone


def test_an_engine_that_dies_is_a_row_and_harms_nobody(fake, monkeypatch, capsys):
    monkeypatch.setattr(FakeWorker, "dies_in", (("hnswlib", "sweep"),))
    assert fake() is None
    (row,) = fake.file.rows("failed")
    assert (row["engine"], row["step"]) == ("hnswlib", "sweep")
    assert "died in sweep, exit code -9" in capsys.readouterr().out
    assert len(fake.file.rows("pass")) == 4
    monkeypatch.setattr(FakeWorker, "dies_in", ())
    assert fake() is None
    assert "Not complete" not in capsys.readouterr().out


def test_a_missing_library_is_a_row(tmp_path, monkeypatch, in_checkout, capsys):
    """The real processes, on few vectors; whimbrel and NumPy are always there, the other is not."""
    (tmp_path / "shadow").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "shadow"))  # of the processes too
    (tmp_path / "shadow/hnswlib.py").write_text("raise ModuleNotFoundError('it is hidden')")
    np.save(tmp_path / "toy.npy", np.random.default_rng(3).random((500, 4), np.float32))
    np.save(tmp_path / "q.npy", np.random.default_rng(4).random((20, 4), np.float32))
    words = [
        "--quick",
        "--datasets",
        f"{tmp_path}/toy.npy,{tmp_path}/q.npy,l2",
        "--cache",
        tmp_path / "cache",
    ]
    assert bench(*words, "--engines", "hnswlib", "whimbrel", "--out", tmp_path / "out") is None
    text = capsys.readouterr().out
    assert "hnswlib (failed in its build: hnswlib: ModuleNotFoundError: it is hidden" in text
    assert "A/A check" in text
    file = results.ResultFile(tmp_path / "out/search.jsonl")
    assert {row["engine"] for row in file.rows("pass")} == {"whimbrel", "whimbrel#2"}
    assert all(row["disk_bytes"] > 500 * 16 for row in file.rows("build"))
    assert not list((tmp_path / "cache/indexes").iterdir())


def test_outside_a_checkout_the_command_says_where_it_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("whimbrel.commands.__file__", str(tmp_path / "a/b/c.py"))
    assert main(["bench", "--quick"]) == 2
    assert "expected the current directory to be in a source checkout" in capsys.readouterr().err


# ---------------------------------------------------------------- ann-benchmarks


class BaseANN:
    """What the base class of ann-benchmarks gives to an algorithm."""

    def done(self):
        pass


@pytest.fixture
def algorithm(monkeypatch):
    """The module as ann-benchmarks imports it, as a part of its own package."""
    folder = ROOT / "bench/ann_benchmarks"
    for name, path in {
        "ann_benchmarks": None,
        "ann_benchmarks.algorithms": folder,
        "ann_benchmarks.algorithms.base": None,
        "ann_benchmarks.algorithms.base.module": None,
        "ann_benchmarks.algorithms.whimbrel": folder / "whimbrel",
    }.items():
        module = types.ModuleType(name)
        module.__path__ = [] if path is None else [str(path)]
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules["ann_benchmarks.algorithms.base.module"].BaseANN = BaseANN
    yield importlib.import_module("ann_benchmarks.algorithms.whimbrel.module").Whimbrel
    sys.modules.pop("ann_benchmarks.algorithms.whimbrel.module")


def run_as_ann_benchmarks_does(algorithm, file, argument, count, batch):
    """A stand-in for its runner: fit, then query one by one or at once; recall by its own distances."""
    train, test, truth = (np.array(file[name]) for name in ("train", "test", "distances"))
    before = algorithm.get_memory_usage()
    algorithm.fit(train)
    assert algorithm.get_memory_usage() - before > train.nbytes / 1024
    algorithm.set_query_arguments(*argument)
    if batch:
        algorithm.batch_query(test, count)
        found = algorithm.get_batch_results()
    else:
        found = [algorithm.query(v, count) for v in test]
    if file.attrs["distance"] == "angular":
        train, test = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (train, test))
    hits = 0
    for ids, v, near in zip(found, test, truth, strict=True):
        assert len(set(ids)) == len(ids) == count
        distances = np.linalg.norm(train[[int(i) for i in ids]] - v, axis=1)
        hits += np.count_nonzero(distances <= near[count - 1] + 1e-3)
    extra = algorithm.get_additional()
    name = str(algorithm)
    algorithm.done()
    return hits / (count * len(test)), extra, name


@pytest.mark.parametrize("distance", ["euclidean", "angular"])
@pytest.mark.parametrize("batch", [False, True])
def test_the_ann_benchmarks_module_is_driven_by_its_file_format(algorithm, tmp_path, distance, batch):
    h5py = pytest.importorskip("h5py")
    points = np.random.default_rng(5).standard_normal((2100, 12)).astype(np.float32)
    base, queries = points[100:], points[:100]
    path = tmp_path / "toy-12.hdf5"
    metric = "l2" if distance == "euclidean" else "cosine"
    near = wb.knn(base, queries, 100, metric)
    lengths = np.sqrt(near.distances if metric == "l2" else 2 * near.distances)
    with h5py.File(path, "w") as file:
        file.attrs.update({"type": "dense", "distance": distance, "dimension": 12, "point_type": "float"})
        file["train"], file["test"], file["neighbors"], file["distances"] = base, queries, near.ids, lengths
    with h5py.File(path, "r") as file:
        made = algorithm(distance, {"M": 8, "ef_construction": 100})
        recall, extra, name = run_as_ann_benchmarks_does(made, file, [200], 10, batch)
    assert recall > 0.95
    assert name == "whimbrel(M=8, ef_construction=100, ef=200)"
    assert (extra["dist_comps"] > 100 * 200) if batch else extra == {}
    rows = data.load(str(path))
    assert (rows.metric, rows.base.shape) == (metric, base.shape)
    with pytest.raises(ValueError, match="metric: expected euclidean or angular, got 'hamming'"):
        algorithm("hamming", {})


def test_the_ann_benchmarks_config_names_what_is_there(algorithm):
    text = (ROOT / "bench/ann_benchmarks/whimbrel/config.yml").read_text()
    assert f"constructor: {algorithm.__name__}" in text
    for options in ("{M: 8,", "{M: 16,", "{M: 32,"):
        assert options in text
