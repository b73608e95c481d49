"""Long calls can be stopped, by Ctrl-C or by their callback, and leave everything as it was."""

import _thread
import signal
import sys
import threading
import time

import numpy as np
import pytest
import whimbrel as wb
from whimbrel import _progress


@pytest.fixture(scope="module")
def many():
    """Enough vectors that a call on them takes much longer than the time between two reports."""
    return np.random.default_rng(0).random((40_000, 64), dtype=np.float32)


@pytest.fixture(autouse=True)
def interrupts_arrive():
    """Also where the tests run in the background of a shell, which has them ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class CtrlC:
    """Send SIGINT to this process a moment after the call has started."""

    def __enter__(self):
        self.timer = threading.Timer(0.3, _thread.interrupt_main, [signal.SIGINT])
        self.timer.start()

    def __exit__(self, *_):
        self.timer.cancel()
        self.timer.join()


def again_and_again(call):
    """Call it until it is interrupted, however fast the machine."""
    while True:
        call()


@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_stops_a_build_and_changes_nothing(many, threads):
    index = wb.HnswIndex.build(many[:500])
    before = index.dumps()
    with pytest.raises(KeyboardInterrupt), CtrlC():
        index.add(many, ids=np.arange(len(many)) + 10**6, threads=threads)
    assert index.dumps() == before
    assert len(index) == 500
    index.add(many[:100])
    assert index.validate() == (0, 0, 0)


@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_stops_exact_search(many, threads):
    with pytest.raises(KeyboardInterrupt), CtrlC():
        again_and_again(lambda: wb.knn(many, k=10, threads=threads))


def test_ctrl_c_stops_a_search(many):
    index = wb.HnswIndex.build(many[:2000], M=4, ef_construction=20)
    with pytest.raises(KeyboardInterrupt), CtrlC():
        again_and_again(lambda: index.search(many, k=10, ef_search=2000))
    assert len(index.search(many[:3], k=1).ids) == 3


def test_ctrl_c_stops_maxsim(many):
    sets = many[:36_000].reshape(600, 60, 64)
    store = wb.TokenStore(64, "f16")
    store.add(sets)
    for docs in (sets, store):
        with pytest.raises(KeyboardInterrupt), CtrlC():
            again_and_again(lambda docs=docs: wb.maxsim_matrix(sets, docs))


@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_stops_additions_and_searches_of_sets(many, threads, tmp_path):
    sets = many.reshape(4000, 10, 64)
    index = wb.MultiVectorIndex(64, wb.FdeEncoder(64, k_sim=3, r_reps=10, d_proj=8))
    index.add(sets[:100])
    index.save(tmp_path / "before")
    with pytest.raises(KeyboardInterrupt), CtrlC():
        index.add(np.tile(sets, (4, 1, 1)), threads=threads)
    index.save(tmp_path / "after")
    assert (tmp_path / "before").read_bytes() == (tmp_path / "after").read_bytes()
    with pytest.raises(KeyboardInterrupt), CtrlC():
        again_and_again(lambda: index.search(sets, k=5, threads=threads))
    index.add(sets[100:200])
    assert len(index) == 200


def test_a_callback_hears_of_every_vector(many):
    reports = []
    index = wb.HnswIndex.build(many[:6000], progress=lambda done, total: reports.append((done, total)))
    assert reports == sorted(reports)
    assert reports[-1] == (6000, 6000)
    assert len(index) == 6000


def test_a_callback_cancels_by_returning_false(many):
    index = wb.HnswIndex.build(many[:300])
    before = index.dumps()
    with pytest.raises(wb.CancelledError, match="callback"):
        index.add(many, progress=lambda done, total: done < 1000)
    assert index.dumps() == before
    with pytest.raises(wb.CancelledError):
        wb.knn(many, progress=lambda done, total: False)
    with pytest.raises(wb.CancelledError):
        wb.estimate_lid(many, progress=lambda done, total: False)
    index.add(many[:200])
    twin = wb.HnswIndex.build(many[:300])
    twin.add(many[:200])
    assert index.dumps() == twin.dumps()


def test_a_callback_cancels_with_the_last_report(many):
    index = wb.HnswIndex.build(many[:300])
    before = index.dumps()
    with pytest.raises(wb.CancelledError):  # so short a call that it reports once
        index.add(many[300:600], progress=lambda done, total: done < total)
    assert index.dumps() == before
    assert index.validate() == (0, 0, 0)


def test_a_callback_cancels_by_raising(many):
    class EnoughError(Exception):
        pass

    def callback(done, total):
        raise EnoughError(done)

    index = wb.HnswIndex.build(many[:300])
    before = index.dumps()
    for order in ("given", "lid_descending"):
        with pytest.raises(EnoughError):
            index.add(many[:20_000], order=order, progress=callback)
        assert index.dumps() == before
    with pytest.raises(EnoughError):
        wb.knn(many, many, progress=callback)


def test_a_callback_that_returns_something_else_goes_on(many):
    for answer in (None, True, 0, ""):
        wb.knn(many[:100], progress=lambda done, total, answer=answer: answer)


def test_a_callback_must_not_use_the_index_it_reports_on(many):
    index = wb.HnswIndex.build(many[:300])
    before = index.dumps()
    with pytest.raises(RuntimeError, match="progress"):
        index.add(many, progress=lambda done, total: index.search(many[0]))
    assert index.dumps() == before


def test_progress_true_shows_a_tqdm_bar(many, capsys):
    pytest.importorskip("tqdm")
    wb.HnswIndex.build(many[:3000], order="lid_descending", progress=True)
    shown = capsys.readouterr().err
    assert "neighbors: 100%" in shown
    assert "vectors: 100%" in shown


def test_progress_true_prints_lines_without_tqdm(many, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    wb.HnswIndex.build(many[:3000], progress=True)
    assert capsys.readouterr().err == "vectors: 3,000 of 3,000 (100%)\n"


def test_lines_come_every_few_seconds(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    now = iter([0.0, 1.0, 3.5, 4.0, 5.0, 9.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    with _progress.reporter(True, "vectors") as report:
        for done in (10, 20, 30, 100, 100):
            report(done, 100)
    assert capsys.readouterr().err.splitlines() == [
        "vectors: 20 of 100 (20%)",
        "vectors: 100 of 100 (100%)",
    ]
