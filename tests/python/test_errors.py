"""Bad input: an error of the documented type that names the argument and both values, and nothing changed."""

import errno
import os
import sys

import numpy as np
import pytest
import whimbrel as wb

DATA = np.random.default_rng(0).random((50, 4), dtype=np.float32)
BAD_VALUES = (np.nan, np.inf, -np.inf)


def spoiled(value, shape=(50, 4)):
    data = np.random.default_rng(0).random(shape)
    data[-1, -1] = value
    return data


class DeviceArray:
    """Looks like an array on a CUDA device."""

    __cuda_array_interface__ = None


NOT_NUMBERS = (
    (DATA.astype(complex), "complex"),
    (DATA.astype(object), "object"),
    (DATA.astype(str), "<U"),
    ([["a", "b"]], "<U"),
    (None, "object"),
    (DeviceArray(), "CUDA"),
)
NOT_MATRICES = (DATA[0], DATA[None], 3.0, [], [[]], np.empty((5, 0)), [[1, 2], [3]])


@pytest.mark.parametrize(("values", "text"), NOT_NUMBERS)
def test_arrays_of_something_else_are_type_errors(values, text):
    index = wb.HnswIndex.build(DATA)
    calls = [
        ("data", lambda: wb.knn(values)),
        ("vectors", lambda: wb.HnswIndex.build(values)),
        ("vectors", lambda: index.add(values)),
        ("queries", lambda: index.search(values)),
        ("data", lambda: wb.distance_to_mean(values)),
        ("data", lambda: wb.lid_report(values)),
        ("data", lambda: wb.named_order(values, "given")),
    ]
    if values is not None:
        calls += [
            ("queries", lambda: wb.knn(DATA, values)),
            ("data", lambda: wb.estimate_lid(values)),
        ]
    for name, call in calls:
        with pytest.raises(TypeError, match=f"{name}: expected .*{text}"):
            call()


@pytest.mark.parametrize("values", NOT_MATRICES)
def test_arrays_of_another_rank_are_value_errors(values):
    index = wb.HnswIndex.build(DATA)
    for name, call in (
        ("data", lambda: wb.knn(values)),
        ("queries", lambda: wb.knn(DATA, values)),
        ("data", lambda: wb.estimate_lid(values)),
        ("vectors", lambda: wb.HnswIndex.build(values)),
        ("vectors", lambda: index.add(values)),
    ):
        with pytest.raises(ValueError, match=rf"{name}: expected (shape|a rectangular)"):
            call()


def test_another_dimension_names_both():
    index = wb.HnswIndex.build(DATA)
    before = index.dumps()
    wrong = np.zeros((3, 5))
    with pytest.raises(ValueError, match=r"queries: expected shape \(n, 4\), got \(3, 5\)"):
        wb.knn(DATA, wrong)
    with pytest.raises(ValueError, match=r"queries: expected shape \(n, 4\), got \(3, 5\)"):
        index.search(wrong)
    with pytest.raises(ValueError, match=r"queries: expected shape \(4,\) or \(n, 4\), got \(5,\)"):
        index.search(wrong[0])
    with pytest.raises(ValueError, match=r"vectors: expected shape \(n, 4\), got \(3, 5\)"):
        index.add(wrong)
    assert index.dumps() == before


@pytest.mark.parametrize("value", [*BAD_VALUES, 1e300])
@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
@pytest.mark.parametrize("n", [50, 2000])
def test_values_that_are_not_finite_are_found(value, metric, n):
    bad = spoiled(value, (n, 4))
    index = wb.HnswIndex.build(DATA, metric=metric)
    before = index.dumps()
    for name, call in (
        ("data", lambda: wb.knn(bad, DATA, metric=metric)),
        ("data", lambda: wb.knn(bad, metric=metric)),
        ("queries", lambda: wb.knn(DATA, bad, metric=metric)),
        ("queries", lambda: index.search(bad)),
        ("vectors", lambda: index.add(bad)),
        ("vectors", lambda: wb.HnswIndex.build(bad, metric=metric)),
    ):
        with pytest.raises(ValueError, match=f"{name}: expected finite values"):
            call()
    assert index.dumps() == before


@pytest.mark.parametrize("value", BAD_VALUES)
@pytest.mark.parametrize("order", wb.ORDERS[2:5])
def test_orders_of_values_that_are_not_finite_are_errors(value, order):
    for metric in ("l2", "cosine"):
        with pytest.raises(ValueError, match="expected"):
            wb.HnswIndex.build(spoiled(value), metric=metric, order=order)


NUMBERS = (
    ("k", lambda v: wb.knn(DATA, k=v), (0, -1, 2**31)),
    ("k", lambda v: wb.HnswIndex.build(DATA).search(DATA, k=v), (0, -1, 2**31)),
    ("ef_search", lambda v: wb.HnswIndex.build(DATA).range_search(DATA, 1.0, ef_search=v), (0, -1)),
    ("ef_search", lambda v: wb.HnswIndex(4, ef_search=v), (0, -1, 1_000_001)),
    ("ef_search", lambda v: setattr(wb.HnswIndex(4), "ef_search", v), (0, -1, 1_000_001)),
    ("M", lambda v: wb.HnswIndex(4, M=v), (-1, 0, 1, 513, 2**40)),
    ("dim", lambda v: wb.HnswIndex(v), (-1, 0, 2**40)),
    ("ef_construction", lambda v: wb.HnswIndex(4, ef_construction=v), (-1, 0, 1_000_001)),
    ("seed", lambda v: wb.HnswIndex(4, seed=v), (-1, 2**64)),
    ("seed", lambda v: wb.named_order(DATA, "random", seed=v), (-1, 2**64)),
    ("threads", lambda v: wb.knn(DATA, threads=v), (-1, 1025)),
    ("threads", lambda v: wb.HnswIndex(4).add(DATA, threads=v), (-1, 1025)),
    ("k", lambda v: wb.estimate_lid(DATA, k=v), (-1, 0, 1)),
    ("level", lambda v: wb.HnswIndex.build(DATA).neighbors(0, v), (-1, 64)),
)


@pytest.mark.parametrize(("name", "call", "values"), NUMBERS)
def test_numbers_out_of_range_are_value_errors(name, call, values):
    for value in values:
        with pytest.raises(ValueError, match=rf"{name}: expected \d+\.\.\d+, got {value}"):
            call(value)


@pytest.mark.parametrize(("name", "call", "values"), NUMBERS)
def test_numbers_of_another_type_are_type_errors(name, call, values):
    for value in (2.5, "2", [3]):
        with pytest.raises(TypeError, match=f"{name}: expected an integer, got {type(value).__name__}"):
            call(value)


@pytest.mark.parametrize("growth", [0.5, 0, -1, np.nan, np.inf])
def test_batch_growth_is_at_least_1(growth):
    with pytest.raises(ValueError, match="batch_growth: expected"):
        wb.HnswIndex(4, batch_growth=growth)


@pytest.mark.parametrize("name", ["L2", "euclidean", "", None, 3])
def test_unknown_names_are_value_errors(name):
    for call in (
        lambda: wb.knn(DATA, metric=name),
        lambda: wb.HnswIndex(4, metric=name),
        lambda: wb.named_order(DATA, "given", metric=name),
    ):
        with pytest.raises(ValueError, match=r"metric: expected 'l2', 'ip' or 'cosine', got"):
            call()
    with pytest.raises(ValueError, match=r"estimator: expected 'mle', .*, got"):
        wb.estimate_lid(DATA, estimator=name)
    with pytest.raises(ValueError, match=r"order: expected 'given', .*, got"):
        wb.named_order(DATA, name)


def test_an_inner_product_has_no_lid():
    for call in (wb.estimate_lid, wb.lid_report):
        with pytest.raises(ValueError, match="metric: expected 'l2' or 'cosine', got 'ip'"):
            call(DATA, metric="ip")


@pytest.mark.parametrize(
    ("ids", "kind", "text"),
    [
        (np.arange(50) - 1, ValueError, "ids: expected .* -1"),
        (np.arange(50) // 2, ValueError, "ids: expected .* 0"),
        (np.arange(50) + 100, ValueError, "ids: expected .* 120"),  # 120 is there already
        (np.arange(49), ValueError, "ids: expected 50"),
        (np.arange(50).reshape(5, 10), ValueError, r"ids: expected shape \(n,\), got \(5, 10\)"),
        (np.arange(50.0), TypeError, "ids: expected integers, got dtype float64"),
        (np.full(50, True), TypeError, "ids: expected integers, got dtype bool"),
        (list("ab" * 25), TypeError, "ids: expected integers"),
        (np.arange(50, dtype=np.uint64) + np.uint64(2**63), ValueError, "ids: expected values below"),
    ],
)
def test_bad_ids_are_errors_and_change_nothing(ids, kind, text):
    index = wb.HnswIndex.build(DATA[:1], ids=[120])
    before = index.dumps()
    with pytest.raises(kind, match=text):
        index.add(DATA, ids)
    assert index.dumps() == before


@pytest.mark.parametrize(
    ("order", "kind"),
    [
        (np.arange(49), ValueError),
        (np.zeros(50, int), ValueError),
        (np.arange(50) + 1, ValueError),
        (np.arange(50) - 1, ValueError),
        (np.arange(50).reshape(5, 10), ValueError),
        (np.arange(50.0), TypeError),
        ("sorted", ValueError),
        ([], ValueError),
    ],
)
def test_bad_orders_are_errors_and_change_nothing(order, kind):
    index = wb.HnswIndex.build(DATA)
    before = index.dumps()
    with pytest.raises(kind, match="order: expected"):
        index.add(DATA, order=order)
    assert index.dumps() == before


@pytest.mark.parametrize(
    ("order", "labels", "kind"),
    [
        ("category", None, ValueError),
        ("category", np.zeros(49), ValueError),
        ("category", np.zeros((50, 1)), ValueError),
        ("category", np.full(50, None), TypeError),
        ("random", np.zeros(50), ValueError),
        ("given", np.zeros(50), ValueError),
        (np.arange(50), np.zeros(50), ValueError),
    ],
)
def test_bad_labels_are_errors(order, labels, kind):
    with pytest.raises(kind, match="labels: expected"):
        wb.HnswIndex.build(DATA, order=order, labels=labels)


def test_unknown_ids_are_index_errors():
    index = wb.HnswIndex.build(DATA)
    for id_ in (-1, 50, 2**62):
        with pytest.raises(IndexError, match=f"ids: expected .* {id_}"):
            index.get_vectors([0, id_])
        with pytest.raises(IndexError, match=f"id: expected .* {id_}"):
            index.neighbors(id_)


@pytest.mark.parametrize(
    "neighbors",
    [
        (np.zeros((2, 3)), np.array([[1.0, 2, 3], [1, 3, 2]])),
        (np.zeros((1, 2)), np.array([[-1.0, 2]])),
        (np.zeros((1, 2)), np.array([[np.nan, 2]])),
        (np.zeros(3), np.arange(3)),
        np.zeros((2, 3)),
        (np.zeros((1, 2)),),
    ],
)
def test_bad_neighbors_are_errors(neighbors):
    with pytest.raises(ValueError, match=r"(neighbors|distances): expected"):
        wb.estimate_lid(neighbors=neighbors)


def test_lid_needs_data_or_neighbors():
    with pytest.raises(ValueError, match="got neither"):
        wb.estimate_lid()
    with pytest.raises(ValueError, match="got both"):
        wb.estimate_lid(DATA, neighbors=wb.knn(DATA))
    with pytest.raises(ValueError, match="data: expected at least 2 rows, got 1"):
        wb.lid_report(DATA[:1])
    with pytest.raises(ValueError, match="values: expected no NaN"):
        wb.insertion_order([1, np.nan])
    with pytest.raises(ValueError, match=r"values: expected shape \(n,\), got \(1, 2\)"):
        wb.insertion_order([[1, 2]])


def test_results_too_large_for_memory_are_memory_errors():
    index = wb.HnswIndex.build(DATA)
    for call in (lambda: index.search(np.zeros((10**5, 4)), k=2**31 - 1), lambda: wb.knn(DATA, k=2**31 - 1)):
        with pytest.raises(MemoryError):
            call()


@pytest.mark.parametrize("call", ["save", "load"])
def test_paths_that_cannot_be_used_are_os_errors(call, tmp_path):
    index = wb.HnswIndex.build(DATA)
    (tmp_path / "file").write_bytes(b"")
    cases = {
        tmp_path / "missing" / "x.whb": FileNotFoundError,
        tmp_path / "file" / "x.whb": NotADirectoryError,
        tmp_path: IsADirectoryError,
    }
    for path, kind in cases.items():
        with pytest.raises(OSError, match=r".") as caught:
            index.save(path) if call == "save" else wb.HnswIndex.load(path)
        assert caught.type is kind
        assert caught.value.filename == str(path)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    with pytest.raises(ValueError, match="NUL"):
        index.save("a\0b")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_must_not_be_written_is_a_permission_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        wb.HnswIndex.build(DATA).save(tmp_path / "x.whb")
    tmp_path.chmod(0o700)


DISK_FULL = """
import os, resource, sys
import numpy as np
import whimbrel as wb
small, large = (wb.HnswIndex.build(np.random.default_rng(0).random((n, 64))) for n in (10, 2000))
small.save("index.whb")
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    large.save("index.whb")
except OSError as error:
    print(error.errno, error.filename)
print(wb.HnswIndex.load("index.whb").dumps() == small.dumps(), os.listdir("."))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_full_disk_leaves_the_old_file_whole(run_python):
    printed = run_python(DISK_FULL).splitlines()
    assert printed == [f"{errno.EFBIG} index.whb", "True ['index.whb']"]


def test_errors_of_a_file_object_pass_through():
    class Broken:
        def write(self, data):
            raise RuntimeError("no more")

        def read(self, size):
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        wb.HnswIndex.build(DATA).save(Broken())
    with pytest.raises(RuntimeError, match="no more"):
        wb.HnswIndex.load(Broken())


def test_text_files_are_type_errors(tmp_path):
    path = tmp_path / "x.txt"
    with path.open("w") as f, pytest.raises(TypeError):
        wb.HnswIndex.build(DATA).save(f)
    path.write_text("text")
    with path.open() as f, pytest.raises(TypeError, match="binary mode"):
        wb.HnswIndex.load(f)
    with pytest.raises(TypeError):
        wb.HnswIndex.load(3.5)
    with pytest.raises(TypeError):
        wb.HnswIndex.loads("text")


def test_empty_arrays_are_defined():
    none = np.empty((0, 4))
    assert wb.knn(none, DATA, k=2).ids.tolist() == [[-1, -1]] * 50
    assert wb.knn(DATA, none, k=2).ids.shape == wb.knn(none, k=2).ids.shape == (0, 2)
    index = wb.HnswIndex.build(none)
    index.add(none, ids=[])
    assert len(index) == 0
    assert index.search(DATA[0], k=1).ids.tolist() == [-1]
    index.add(DATA)
    assert len(index) == 50


def test_the_smallest_and_largest_parameters_work():
    for M in (2, 512):
        index = wb.HnswIndex.build(DATA, M=M, ef_construction=1 if M == 2 else 300)
        assert len(index) == 50
    assert index.search(DATA, k=1).ids[:, 0].tolist() == list(range(50))
