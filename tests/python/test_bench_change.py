"""`whimbrel bench change` and `scale` on tiny sets: a row for each step, kept by a second run, and tables."""

import numpy as np
import pytest
from bench_rows import bench

from bench import results
from bench.macro import bench_change, bench_scale, scale_tables


def toy(folder, name, n):
    rng = np.random.default_rng(n)
    np.save(folder / f"{name}.npy", rng.standard_normal((n, 6), np.float32))
    np.save(folder / "q.npy", rng.standard_normal((20, 6), np.float32))
    return f"{folder}/{name}.npy,{folder}/q.npy,l2"


def test_searches_beside_each_change_are_measured_once_and_shown(tmp_path, in_checkout, capsys):
    pytest.importorskip("hnswlib")
    words = ["change", "--datasets", toy(tmp_path, "toy", 3000), "--M", "4", "--ef-construction", "10"]
    words += ["--searchers", "1", "--seconds", "0.03", "--repetitions", "1"]
    words += ["--cache", tmp_path / "cache", "--out", tmp_path / "x"]
    assert bench(*words) is None
    rows = results.ResultFile(tmp_path / "x").rows("change")
    found = {(row["engine"], row["change"]): row for row in rows}
    ours = (*bench_change.STEPS, *bench_change.ONCE)
    assert list(found) == [("whimbrel", change) for change in ours] + [
        ("hnswlib", change) for change in bench_change.STEPS
    ]
    for (_, change), row in found.items():
        assert (row["changed"] > 0) == (change != "quiet")
        assert 0 < row["p50_us"] <= row["p99_us"] <= row["p999_us"] <= row["max_us"]
    report = capsys.readouterr().out
    assert "| whimbrel | 1 | refine |" in report
    assert bench(*words) is None
    assert capsys.readouterr().out == report
    assert len(results.ResultFile(tmp_path / "x").rows("change")) == len(rows)


def test_sizes_are_built_and_searched_once_and_their_growth_is_shown(
    tmp_path, in_checkout, monkeypatch, capsys
):
    monkeypatch.setattr(bench_scale, "LEAST_SECONDS", 0.001)
    words = ["scale", "--datasets", toy(tmp_path, "few", 500), toy(tmp_path, "many", 2000), "--M", "4"]
    words += ["--ef-construction", "20", "--engines", "whimbrel", "--repetitions", "1"]
    words += ["--cache", tmp_path / "cache", "--out", tmp_path / "x"]
    assert bench(*words) is None
    out = results.ResultFile(tmp_path / "x")
    kinds = [row["kind"] for row in out.rows() if row["kind"] != "machine"]
    assert kinds == ["scale-build", "scale-sweep", "scale-pass"] * 2
    report = capsys.readouterr().out
    assert "| whimbrel | **exponent of n** |" in report
    assert bench(*words) is None
    assert capsys.readouterr().out == report
    assert len(out.rows()) == len(kinds) + 1


def test_an_exponent_is_a_slope_of_logarithms():
    assert scale_tables.exponent([10, 100, 1000], [3 * n**1.5 for n in (10, 100, 1000)]) == "1.50"
    assert scale_tables.exponent([10, 100, 1000], [None, 2.0, 2.0]) == "0.00"
    assert scale_tables.exponent([10, 100], [None, 2.0]) is None
