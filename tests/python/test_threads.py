"""Python threads: the GIL is free while the core works, and calls on one index do not disturb each other."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import whimbrel as wb

DATA = np.random.default_rng(0).random((8000, 24), dtype=np.float32)
QUERIES = np.random.default_rng(1).random((200, 24), dtype=np.float32)


def in_threads(n, call):
    """The results of `call(0)` to `call(n - 1)`, all started at once; the first error is raised."""
    barrier = threading.Barrier(n)

    def run(i):
        barrier.wait()
        return call(i)

    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(run, range(n)))


@pytest.mark.parametrize("threads", [1, 2])
def test_searches_from_several_threads_agree(threads):
    index = wb.HnswIndex.build(DATA, M=8, ef_construction=50)
    expected = index.search(QUERIES)
    for found in in_threads(6, lambda i: index.search(QUERIES, threads=threads)):
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.distances, expected.distances)


def test_exact_searches_from_several_threads_agree():
    expected = wb.knn(DATA, QUERIES)
    for found in in_threads(4, lambda i: wb.knn(DATA, QUERIES)):
        np.testing.assert_array_equal(found.ids, expected.ids)


def test_builds_from_several_threads_agree():
    builds = in_threads(4, lambda i: wb.HnswIndex.build(DATA[:2000], M=8, threads=i + 1).dumps())
    assert len(set(builds)) == 1


def test_other_threads_run_while_a_call_works():
    """A progress callback runs in the calling thread; another Python thread must get the GIL between them."""
    ticks, done = [], threading.Event()

    def tick():
        while not done.wait(0.001):
            ticks.append(1)

    ticker = threading.Thread(target=tick)
    ticker.start()
    wb.HnswIndex.build(DATA)
    done.set()
    ticker.join()
    assert len(ticks) > 5


def test_every_call_works_while_another_thread_adds():
    index = wb.HnswIndex.build(DATA[:500], M=8)
    added = threading.Event()

    def call(i):
        if i == 0:
            for part in np.array_split(DATA[500:], 15):
                index.add(part, threads=2)
            added.set()
            return None
        sizes = []
        while not added.is_set():
            sizes.append(len(index))
            hits = index.search(QUERIES[:5], k=3)
            assert np.all(np.diff(hits.distances, axis=1) >= 0)
            assert hits.ids.min() >= 0
            assert index.memory_usage() > 0
            assert index.stats.size >= sizes[-1]
            assert index.validate().dead_edges == 0
            index.ef_search = 10 + i
            index.get_vectors(0), index.neighbors(0), index.ids, repr(index)
        return sizes

    for sizes in in_threads(3, call)[1:]:
        assert sizes == sorted(sizes)
    twin = wb.HnswIndex.build(DATA[:500], M=8)
    for part in np.array_split(DATA[500:], 15):
        twin.add(part)
    twin.ef_search = index.ef_search
    assert index.dumps() == twin.dumps()


@pytest.mark.parametrize("change", ["add", "update"])
def test_searches_end_while_a_change_works_and_see_nothing_of_it(change):
    index = wb.HnswIndex.build(DATA[:500], M=8)
    calls = {
        "add": lambda **how: index.add(DATA[500:], **how),
        "update": lambda **how: index.update(np.arange(500), DATA[500:1000], **how),
    }
    before, during = index.search(QUERIES, exact=True), []

    with ThreadPoolExecutor(1) as pool:

        def progress(done, total):
            work = pool.submit(lambda: (index.search(QUERIES, exact=True), index.search(QUERIES), len(index)))
            during.append(work.result(timeout=100))

        calls[change](progress=progress)
    assert during
    for exact, near, size in during:
        np.testing.assert_array_equal(exact.ids, before.ids)
        assert np.mean(near.ids == before.ids) > 0.9
        assert size == 500
    assert not (index.search(QUERIES, exact=True).ids == before.ids).all()


def test_adds_from_several_threads_all_arrive():
    index = wb.HnswIndex(24, M=8, ef_construction=50)
    in_threads(4, lambda i: index.add(DATA[i::4], ids=np.arange(8000)[i::4]))
    assert sorted(index.ids.tolist()) == list(range(8000))
    unreachable, _, dead_edges = index.validate()  # of a graph that depends on who came first
    assert unreachable < 8
    assert dead_edges == 0
    np.testing.assert_array_equal(index.get_vectors(np.arange(8000)), DATA)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_can_work(run_python):
    program = """
import os, numpy as np, whimbrel as wb
data = np.random.default_rng(0).random((3000, 8))
index = wb.HnswIndex.build(data, threads=3)
child = os.fork()
if child == 0:
    same = (index.search(data, threads=3).ids == index.search(data, threads=1).ids).all()
    os._exit(0 if same and len(wb.HnswIndex.build(data, threads=3)) == 3000 else 1)
print(os.waitpid(child, 0)[1])
"""
    assert run_python(program).strip() == "0"
