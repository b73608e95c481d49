"""Races of the harness: a contestant that fails is a row, and what the peers compute is what they say."""

import numpy as np
import pytest
from bench_rows import bench

from bench import results, token_sets
from bench.macro import bench_fde_recall, fde_peers, maxsim_peers
from bench.macro.race import Contestant, Entry, by_threads, race, rates, ratios


class Sum(Contestant):
    package = "numpy"

    def __init__(self, n, threads):
        self.values, self.threads = np.ones(n), threads

    def work(self):
        return self.values.sum()

    def facts(self):
        return {"items": len(self.values), "recall": None}


class Missing(Sum):
    def facts(self):
        raise ModuleNotFoundError("No module named 'missing'")


def test_a_contestant_that_fails_is_a_row_and_harms_nobody(tmp_path):
    pytest.importorskip("threadpoolctl")
    out = results.ResultFile(tmp_path / "x.jsonl")
    entries = {"sum": Entry(Sum), "missing": Entry(Missing), "again": Entry(Sum)}
    race(out, "sum", {"dataset": "toy"}, entries, (1_000,), 1, 2)
    here = by_threads(out.rows(), "sum")[1]
    assert list(here) == ["sum", "again"]
    assert all(len(rates(row)) == 2 and min(rates(row)) > 0 for row in here.values())
    assert ratios(here["sum"], here["sum"]) == "1.00x (1.00..1.00)"
    (failed,) = out.rows("failed")
    assert failed["engine"] == "missing"
    assert "missing FAILED: missing: ModuleNotFoundError" in results.report(out, ["toy"], lambda rows: "")


def test_what_an_interrupted_run_left_is_not_measured_again(tmp_path):
    pytest.importorskip("threadpoolctl")
    path = tmp_path / "x.jsonl"
    entries = {"sum": Entry(Sum), "missing": Entry(Missing)}
    race(results.ResultFile(path), "sum", {"dataset": "toy"}, entries, (1_000,), 1, 2)
    again = results.ResultFile(path)
    for repetitions in (2, 3):
        race(again, "sum", {"dataset": "toy"}, entries, (1_000,), 1, repetitions)
    first, copied, measured = again.rows("sum")
    assert copied == {**first, "run": copied["run"]}
    assert copied["run"] == measured["run"]
    assert len(measured["seconds"]) == 3
    assert [row["engine"] for row in again.rows("failed")] == ["missing"] * 3


def test_rates_count_what_one_call_handles():
    assert rates({"items": 10, "seconds": [2.0, 5.0]}) == [5.0, 2.0]
    assert ratios({"items": 10, "seconds": [1.0]}, {"items": 1, "seconds": [1.0]}) == "10.00x"


MAXSIM = {
    "whimbrel": 1e-6,
    "whimbrel, store f32": 1e-6,
    "whimbrel, store f16": 1e-3,
    "whimbrel, store int8": 1e-2,
    "numpy": 1e-6,
}


@pytest.mark.parametrize("use", maxsim_peers.USES)
@pytest.mark.parametrize("name", MAXSIM)
def test_maxsim_is_that_of_float64(name, use):
    peer = maxsim_peers.ENTRIES[name].factory("topics", None, 20, 5, use, 1)
    facts = peer.facts()
    assert facts["error"] < MAXSIM[name]
    assert facts["items"] == 20 * (5 if use == "all queries" else 1)


@pytest.mark.parametrize("name", ["whimbrel", "whimbrel, filled with means", "numpy"])
def test_encodings_hold_the_best_documents_among_their_candidates(name):
    peer = fde_peers.ENTRIES[name].factory("topics", None, 200, 10, (4, 10, 16), 1)
    assert peer.facts()["recall"] > 0.9


def test_token_sets_are_cut_to_whole_documents():
    data = token_sets.load("topics", None, 3, 2)
    assert [len(d) for d in data.documents()] == np.diff(data.offsets).tolist()
    assert (data.facts()["documents"], data.facts()["queries"]) == (3, 2)
    assert len(data.tokens) == data.offsets[-1]
    np.testing.assert_allclose(np.linalg.norm(data.tokens, axis=1), 1, rtol=1e-6)


def test_unknown_token_sets_are_refused(in_checkout, tmp_path, capsys):
    assert bench("maxsim", "--datasets", "wikipedia", "--out", tmp_path / "x.jsonl") == 2
    assert "expected one of nfcorpus, topics, got 'wikipedia'" in capsys.readouterr().err
    assert "nfcorpus is read from a folder" in bench("fde", "--datasets", "nfcorpus", "--out", tmp_path / "x")


def test_recall_over_seeds_is_told_for_libraries_and_planes(tmp_path, in_checkout, monkeypatch, capsys):
    monkeypatch.setattr(bench_fde_recall, "SETTINGS", ((3, 4, 8),))
    chosen = {"whimbrel": fde_peers.Whimbrel, "numpy": fde_peers.NumpyFde}
    chosen[bench_fde_recall.MEANS] = fde_peers.WhimbrelMean
    chosen |= {kind: bench_fde_recall.CONTESTANTS[kind] for kind in bench_fde_recall.KINDS}
    monkeypatch.setattr(bench_fde_recall, "CONTESTANTS", chosen)
    words = ["fde-recall", "--datasets", "topics", "--n", "150", "--queries", "5", "--out", tmp_path / "x"]
    assert "repetitions: expected at least 2, got 1" in bench(*words, "--repetitions", "1")
    assert bench(*words, "--repetitions", "2") is None
    rows = results.ResultFile(tmp_path / "x").rows("fde recall")
    assert [row["engine"] for row in rows] == [name for name in chosen for _ in range(2)]
    assert all(row["recall"] > 0.5 for row in rows)
    assert rows[0]["recall"] != rows[1]["recall"]
    assert capsys.readouterr().out.count("±") == 2 * len(chosen)
    monkeypatch.setattr(fde_peers.FdePeer, "recall", None)  # nothing is measured again
    assert bench(*words, "--repetitions", "2") is None
    assert len(results.ResultFile(tmp_path / "x").rows("machine")) == 2
    again = results.ResultFile(tmp_path / "x").rows("fde recall")
    assert [row["recall"] for row in again[len(rows) :]] == [row["recall"] for row in rows]
    monkeypatch.setattr(bench_fde_recall, "CONTESTANTS", {"numpy": fde_peers.NumpyFde})
    monkeypatch.setattr(bench_fde_recall.machine, "version", lambda package: "0.0")
    measured = []
    monkeypatch.setattr(fde_peers.FdePeer, "recall", lambda peer, truth: measured.append(peer.seed) or 0.5)
    assert bench(*words, "--repetitions", "2") is None
    assert measured == [1, 2]  # another version of a library is another library
