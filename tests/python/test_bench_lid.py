"""`whimbrel bench lid` on a tiny set: a row for each index, and both tables of them."""

import numpy as np
import pytest
from bench_rows import bench

from bench import results
from bench.macro import bench_lid, lid_tables


def test_orders_and_uses_of_lid_are_measured_and_shown(tmp_path, in_checkout, monkeypatch, capsys):
    pytest.importorskip("hnswlib")
    monkeypatch.setattr(bench_lid, "EFS", (10, 40))
    monkeypatch.setattr(lid_tables, "SHOWN_EFS", (10, 40))
    rng = np.random.default_rng(3)
    np.save(tmp_path / "toy.npy", rng.standard_normal((400, 6), np.float32) * rng.random((400, 1)))
    np.save(tmp_path / "q.npy", rng.standard_normal((20, 6), np.float32))
    words = ["lid", "--datasets", f"{tmp_path}/toy.npy,{tmp_path}/q.npy,l2", "--seeds", "1", "--M", "4"]
    words += ["--ef-construction", "20", "--cache", tmp_path / "cache", "--out", tmp_path / "x"]
    assert bench(*words) is None
    rows = results.ResultFile(tmp_path / "x").rows("lid")
    found = {(row["variant"], row["order"]): row for row in rows}
    assert len(found) == len(rows) == 3 * 4 + 8
    for row in rows:
        narrow, wide = (point["recall"] for point in row["points"])
        assert 0.5 < narrow <= wide <= 1
    plain = found["built", "random"]
    assert len({row["memory_bytes"] for row in rows if row["variant"] in ("built", "refined")}) == 1
    assert found["refined", "random"]["mean_degree"] > plain["mean_degree"]
    for name in ("query ef rises", "query ef falls"):  # two searches
        assert found[name, "random"]["points"][0]["distances"] > plain["points"][0]["distances"]
    shown = capsys.readouterr().out
    assert "400 x 6, M 4, ef_construction 20, 1 seeds, recall@10 in %" in shown
    values = [100 * found["refined", order]["points"][0]["recall"] for order in lid_tables.ORDERS]
    assert f"| refined | **best - worst** | **{max(values) - min(values):.1f}** |" in shown
    gain = 100 * (found["links rises", "random"]["points"][1]["recall"] - plain["points"][1]["recall"])
    assert f"({gain:+.1f})" in next(line for line in shown.splitlines() if "| links rises |" in line)
