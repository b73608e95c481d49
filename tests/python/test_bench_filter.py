"""`whimbrel bench filter` on a tiny set: a row for each contestant of each filter, kept by a second run."""

import numpy as np
import pytest
from bench_rows import bench

from bench import results
from bench.macro import bench_filter, filter_tables


def test_filters_are_measured_once_and_shown(tmp_path, in_checkout, monkeypatch, capsys):
    pytest.importorskip("hnswlib")
    monkeypatch.setattr(bench_filter, "SHARES", (0.01, 0.5))
    rng = np.random.default_rng(3)
    np.save(tmp_path / "toy.npy", rng.standard_normal((600, 6), np.float32))
    np.save(tmp_path / "q.npy", rng.standard_normal((20, 6), np.float32))
    words = ["filter", "--datasets", f"{tmp_path}/toy.npy,{tmp_path}/q.npy,l2", "--engines", "whimbrel"]
    words += ["--repetitions", "1", "--M", "8", "--cache", tmp_path / "cache", "--out", tmp_path / "x"]
    assert bench(*words) is None
    rows = results.ResultFile(tmp_path / "x").rows("filter")
    found = {(row["filter"], row["engine"]): row for row in rows}
    assert len(found) == len(rows) == 4 * 3
    for (name, engine), row in found.items():
        if engine == "whimbrel":
            assert row["points"][-1]["recall"] >= filter_tables.LEVEL, name
            assert all(point["missing"] == 0 for point in row["points"]), name
    # Six rows pass: hnswlib refuses to return fewer than ten.
    assert all(point["recall"] is None for point in found["random 1 %", "hnswlib, filtered"]["points"])
    report = capsys.readouterr().out
    assert "| random 1 % | 1.0 % |" in report
    assert "error at" in report
    assert bench(*words) is None
    assert capsys.readouterr().out == report
    assert len(results.ResultFile(tmp_path / "x").rows("filter")) == len(rows)


def test_a_narrowest_beam_above_the_level_is_a_lower_bound():
    points = [{"ef": 10, "recall": 0.9}, {"ef": 20, "recall": 0.97}, {"ef": 30, "recall": 0.98}]
    row = {"points": points, "rates": {"10": [200.0, 100.0], "20": [100.0, 50.0]}}
    assert bench_filter.around(points) == [10, 20]
    assert filter_tables.speeds(row)[1] == ""
    assert all(a < b < c for a, b, c in zip((100, 50), filter_tables.speeds(row)[0], (200, 100), strict=True))
    assert bench_filter.around(points[1:]) == [20]
    assert filter_tables.speeds({"points": points[1:], "rates": {"20": [9.0]}}) == ([9.0], ">= ")
    assert filter_tables.speeds({"points": points[:1], "rates": {"10": [9.0]}}) == ([], "")
