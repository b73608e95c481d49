"""The same input gives the same bytes: for any number of threads, any instruction set, any process."""

import hashlib

import numpy as np
import pytest
import whimbrel as wb

THREADS = (1, 2, 7)


def data(n=3000, d=33, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def same(results):
    """Whether all tuples of arrays have the same bits."""
    first, *others = [tuple(a.tobytes() for a in result) for result in results]
    return all(other == first for other in others)


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
@pytest.mark.parametrize("growth", [1, 2])
def test_a_graph_does_not_depend_on_the_threads(metric, growth):
    dumps = set()
    for threads in THREADS:
        index = wb.HnswIndex.build(
            data(), metric=metric, batch_growth=growth, order="random", seed=7, threads=threads
        )
        index.add(data(500, seed=1), threads=threads)
        dumps.add(index.dumps())
    assert len(dumps) == 1


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_exact_search_does_not_depend_on_the_threads(metric):
    assert same([wb.knn(data(), data(70, seed=1), 10, metric, threads=t) for t in THREADS])
    assert same([wb.knn(data(), k=10, metric=metric, threads=t) for t in THREADS])


def test_search_does_not_depend_on_the_threads():
    index = wb.HnswIndex.build(data())
    assert same([index.search(data(70, seed=1), threads=t) for t in THREADS])
    assert same([index.search_with_counts(data(70, seed=1), threads=t)[1] for t in THREADS])


def test_lid_and_orders_do_not_depend_on_the_threads():
    assert same([(wb.estimate_lid(data(), threads=t),) for t in THREADS])
    assert same([(wb.distance_to_mean(data(), threads=t),) for t in THREADS])


def test_exact_search_does_not_depend_on_the_number_of_queries():
    queries = data(70, seed=1)
    together = wb.knn(data(), queries, 10)
    one_by_one = [wb.knn(data(), q[None], 10) for q in queries]
    np.testing.assert_array_equal(together.ids, np.concatenate([r.ids for r in one_by_one]))
    np.testing.assert_array_equal(together.distances, np.concatenate([r.distances for r in one_by_one]))


def test_strictly_sequential_insertion_is_the_same_in_one_call_or_many():
    base = data(600)
    once = wb.HnswIndex.build(base, batch_growth=1)
    parts = wb.HnswIndex(33, batch_growth=1)
    for i in range(0, 600, 50):
        parts.add(base[i : i + 50])
    assert once.dumps() == parts.dumps()


PROGRAM = """
import hashlib, sys
import numpy as np
import whimbrel as wb
assert wb.active_isa() == sys.argv[1]
rng = np.random.default_rng(0)
for dim in (1, 20, 33, 384):
    base, queries = (rng.standard_normal((n, dim)).astype(np.float32) for n in (1500, 50))
    for metric in ("l2", "ip", "cosine"):
        digest = hashlib.sha256()
        for part in (*wb.knn(base, queries, 10, metric), *wb.knn(base, k=10, metric=metric)):
            digest.update(part.tobytes())
        index = wb.HnswIndex.build(base, metric=metric)
        digest.update(index.search(queries, ef_search=1500).distances.tobytes())
        digest.update(index.dumps())
        print(digest.hexdigest())
"""


def test_results_do_not_depend_on_the_instruction_set(run_python):
    printed = {isa: run_python(PROGRAM, isa, isa=isa) for isa in wb.available_isas()}
    assert len(set(printed.values())) == 1, printed


def test_an_unknown_instruction_set_is_an_error(run_python):
    program = "import whimbrel as wb\ntry: wb.active_isa()\nexcept ValueError as e: print(e)"
    assert "WHIMBREL_ISA" in run_python(program, isa="mmx")


def test_another_process_builds_the_same_bytes(run_python):
    program = (
        "import hashlib, numpy as np, whimbrel as wb\n"
        "base = np.random.default_rng(0).random((1000, 12), dtype=np.float32)\n"
        "print(hashlib.sha256(wb.HnswIndex.build(base, order='lid_descending').dumps()).hexdigest())"
    )
    base = np.random.default_rng(0).random((1000, 12), dtype=np.float32)
    here = hashlib.sha256(wb.HnswIndex.build(base, order="lid_descending").dumps()).hexdigest()
    assert run_python(program).strip() == here


# From 32,768 vectors on, a build looks for a projection of what it measures.
PROJECTED_BUILD = """
import hashlib, sys, numpy as np, whimbrel as wb
rng = np.random.default_rng(0)
x = rng.standard_normal((32800, 8)) @ rng.standard_normal((8, 144)) + 0.01 * rng.standard_normal((32800, 144))
x = x.astype(np.float32)
index = wb.HnswIndex.build(x, M=8, ef_construction=20, threads=int(sys.argv[1]))
found = index.search(x[:100], k=10, ef_search=64)
exact = wb.knn(x, x[:100], k=10)
assert np.mean([len(set(a) & set(b)) for a, b in zip(found.ids, exact.ids)]) > 9.9
print(hashlib.sha256(index.dumps()).hexdigest())
"""


def test_builds_on_a_projection_do_not_depend_on_threads_or_instruction_set(run_python):
    isas = wb.available_isas()
    printed = {isa: run_python(PROJECTED_BUILD, str(i + 1), isa=isa) for i, isa in enumerate(isas)}
    assert len(set(printed.values())) == 1, printed
