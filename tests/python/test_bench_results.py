"""What the harness makes of measured rows: interpolation, files, reports, comparison."""

import importlib

import numpy as np
import pytest
from bench_rows import COMMON, MACHINE, a_run, bench, plan_of, rows_of, write_rows

from bench import compare, engines, neighbors, report, results
from bench.dataset import DataError
from bench.macro import search_report, search_results, search_run

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
    assert [p["value"] for p in search_run.worth_timing(points)] == [0, 2, 3, 5, 6, 7]
    assert search_run.worth_timing(points[:1]) == points[:1]


def test_recall_counts_ids_and_not_places():
    found, truth = np.array([[1, 2, -1]]), np.array([[2, 1, 3]])
    assert neighbors.recall(found, truth) == pytest.approx(2 / 3)


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
    with pytest.raises(DataError, match="another machine, test, 2 cores, none"):
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


def test_the_report_starts_with_the_package_against_each_library(tmp_path):
    text = search_report.write_report(a_run(tmp_path / "search.jsonl"), tmp_path)
    lines = text.split("\n\nQueries per second")[0].splitlines()
    assert lines[-1] == "| hnswlib | 1.00x | 2.00x | 2.00x | 2.00x | 2.00x | 1.00x |"
    assert lines[-2].startswith("| its own figures: s, QPS, MiB | 2.0 |")


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
