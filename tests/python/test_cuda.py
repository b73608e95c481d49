"""CUDA as Python sees it: what is there, whose arrays are taken and made, on which stream, and every error.

What needs a device is skipped without one, with the reason. Results are compared with those of the CPU in the
tests of each function, by the fixture `backend`.
"""

import numpy as np
import pytest
import whimbrel as wb
from whimbrel._cuda_status import missing

DATA = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
METRICS = ("l2", "ip", "cosine")

needs_device = pytest.mark.skipif(not wb.cuda.is_available(), reason=f"not run on CUDA: {missing()}")
no_device = pytest.mark.skipif(wb.cuda.is_available(), reason="a device is there")


def calls_on_a_device():
    return (
        lambda: wb.pairwise_distances(DATA, device="cuda"),
        lambda: wb.pairwise_distances(DATA, device="cuda:1"),
        wb.cuda.device_info,
    )


# ---------------------------------------------------------------- without a device


def test_importing_the_package_does_not_touch_cuda(run_python):
    program = """
import sys, whimbrel as wb
wb.knn([[1.0], [2.0]], k=1)
print(sorted(name for name in sys.modules if name.split(".")[0] in {"torch", "cupy"}))
print("whimbrel._cuda" in sys.modules)
"""
    assert run_python(program).split() == ["[]", "False"]


@no_device
def test_without_a_device_every_call_says_what_is_missing():
    assert not wb.cuda.is_available()
    assert wb.cuda.device_count() == 0
    for call in calls_on_a_device():
        with pytest.raises(wb.CudaError, match=r"^(build|driver|device): expected") as caught:
            call()
        assert caught.value.missing in {"build", "driver", "device"}
        assert str(caught.value).startswith(caught.value.missing)
        assert (caught.value.code == 0) == (caught.value.missing == "build")
    assert issubclass(wb.CudaError, RuntimeError)


def test_a_package_without_kernels_says_so(run_python):
    program = """
import sys
sys.modules["whimbrel._cuda"] = None
import whimbrel as wb
assert not wb.cuda.is_available()
try:
    wb.pairwise_distances([[1.0]], device="cuda")
except wb.CudaError as error:
    print(error.missing, error.code)
    print(error)
"""
    assert run_python(program).startswith("build 0\nbuild: expected a package with CUDA kernels")


def test_hidden_devices_are_no_devices(run_python, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    program = "import whimbrel as wb; print(wb.cuda.is_available(), wb.cuda.device_count())"
    assert run_python(program) == "False 0\n"


def test_a_device_array_in_a_call_of_the_cpu_names_the_fix():
    class OnDevice:
        def __dlpack_device__(self):
            return (2, 0)

    for call in (
        lambda: wb.HnswIndex.build(OnDevice()),
        lambda: wb.distance_to_mean(OnDevice()),
        lambda: wb.lid_report(OnDevice()),
    ):
        with pytest.raises(TypeError, match=r"in host memory, got OnDevice on a CUDA device; copy it first"):
            call()
    with pytest.raises(ValueError, match="device: expected None or 'cuda' for arrays on a CUDA device"):
        wb.pairwise_distances(OnDevice(), device="cpu")


# ---------------------------------------------------------------- with a device


def hoard_bytes(backend, n):
    if backend.name == "torch":
        return backend.library.empty(n, dtype=backend.library.uint8, device="cuda")
    return backend.library.empty(n, backend.library.uint8)


def free_pools(backend):
    if backend.name == "torch":
        backend.library.cuda.empty_cache()
    else:
        backend.library.get_default_memory_pool().free_all_blocks()


@needs_device
def test_devices_describe_themselves():
    info = wb.cuda.device_info()
    assert info.name
    assert info.compute_capability >= (8, 0)
    assert 0 < info.free_bytes <= info.memory_bytes
    assert tuple(map(int, info.driver_version.split("."))) >= (13, 0)
    with pytest.raises(ValueError, match="device: expected 0"):
        wb.cuda.device_info(wb.cuda.device_count())
    with pytest.raises(ValueError, match="device: expected cuda:0 to"):
        wb.pairwise_distances(DATA, device=f"cuda:{wb.cuda.device_count()}")


@pytest.mark.parametrize("metric", METRICS)
def test_poisoned_outputs_are_overwritten_and_returned(device_library, metric):
    data = device_library.send(DATA)
    out = device_library.send(np.full((50, 50), np.nan, np.float32))
    assert wb.pairwise_distances(data, metric=metric, out=out) is out
    expected = wb.pairwise_distances(DATA, metric=metric)
    np.testing.assert_array_equal(device_library.fetch(out).view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("metric", METRICS)
def test_two_runs_have_the_same_bits(device_library, metric):
    data = device_library.send(np.random.default_rng(0).standard_normal((3000, 65)).astype(np.float32))
    first, second = (device_library.fetch(wb.pairwise_distances(data, metric=metric)) for _ in range(2))
    np.testing.assert_array_equal(first.view(np.uint32), second.view(np.uint32))


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint8", "int64", "bool"])
def test_real_types_are_converted_on_the_device(device_library, dtype):
    values = np.random.default_rng(0).integers(0, 2, (30, 5)).astype(dtype)
    found = wb.pairwise_distances(device_library.send(values))
    np.testing.assert_array_equal(device_library.fetch(found), wb.pairwise_distances(values))


def test_bfloat16_is_a_real_type():
    torch = pytest.importorskip("torch")
    if not wb.cuda.is_available():
        pytest.skip(f"not run on CUDA: {missing()}")
    values = torch.asarray(DATA, device="cuda").to(torch.bfloat16)
    expected = wb.pairwise_distances(values.to(torch.float32).cpu().numpy())
    np.testing.assert_array_equal(wb.pairwise_distances(values).cpu().numpy(), expected)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[::2],
        lambda x: x[:, ::3],
        lambda x: x[:, 1:],
        lambda x: x[3:, 2:9],
        lambda x: x.T,
        lambda x: x[5:6],
        lambda x: x[:, :1],
        lambda x: x[:0],
    ],
)
def test_views_give_the_same_as_copies(device_library, view):
    wide = np.random.default_rng(0).standard_normal((40, 12)).astype(np.float32)
    found = wb.pairwise_distances(view(device_library.send(wide)))
    np.testing.assert_array_equal(device_library.fetch(found), wb.pairwise_distances(view(wide).copy()))


def test_rows_in_steps_are_not_copied(device_library):
    from whimbrel._device_arrays import place_of
    from whimbrel._device_exact import as_rows

    rows = device_library.send(np.zeros((40, 12), np.float32))[1::3, 2:9]
    place = place_of({"data": rows})
    assert as_rows("data", rows, place).owner is rows


def test_work_is_ordered_on_the_current_stream_of_torch():
    torch = pytest.importorskip("torch")
    if not wb.cuda.is_available():
        pytest.skip(f"not run on CUDA: {missing()}")
    late, expected = torch.asarray(DATA, device="cuda"), wb.pairwise_distances(DATA)
    for stream in (torch.cuda.Stream(), torch.cuda.Stream(priority=-1), torch.cuda.default_stream()):
        data = torch.zeros_like(late)
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            torch.cuda._sleep(50_000_000)  # some 30 ms in which the values are not there yet
            data.copy_(late)
            found = wb.pairwise_distances(data)
            assert not stream.query(), "the call waited for its work"
            data.zero_()
            host = found.cpu()
        np.testing.assert_array_equal(host.numpy(), expected)


def test_work_is_ordered_on_the_current_stream_of_cupy():
    cupy = pytest.importorskip("cupy")
    if not wb.cuda.is_available():
        pytest.skip(f"not run on CUDA: {missing()}")
    expected = wb.pairwise_distances(DATA)
    late, big = cupy.asarray(DATA), cupy.ones((8192, 8192), cupy.float32)
    big @ big  # loads what a product needs, which waits
    for stream in (cupy.cuda.Stream(), cupy.cuda.Stream(non_blocking=True), cupy.cuda.Stream.null):
        data = cupy.zeros_like(late)
        cupy.cuda.Device().synchronize()
        with stream:
            for _ in range(3):
                big @ big
            data[...] = late
            found = wb.pairwise_distances(data)
            assert not stream.done, "the call waited for its work"
            data[...] = 0
            host = cupy.asnumpy(found, stream=stream)
        np.testing.assert_array_equal(host, expected)


def test_arrays_of_two_libraries_meet():
    torch, cupy = pytest.importorskip("torch"), pytest.importorskip("cupy")
    if not wb.cuda.is_available():
        pytest.skip(f"not run on CUDA: {missing()}")
    expected = wb.pairwise_distances(DATA, DATA[:7])
    found = wb.pairwise_distances(torch.asarray(DATA, device="cuda"), cupy.asarray(DATA[:7]))
    assert isinstance(found, torch.Tensor)
    np.testing.assert_array_equal(found.cpu().numpy(), expected)
    found = wb.pairwise_distances(cupy.asarray(DATA), torch.asarray(DATA[:7], device="cuda"))
    assert isinstance(found, cupy.ndarray)
    np.testing.assert_array_equal(found.get(), expected)


@pytest.mark.parametrize("protocols", [("__dlpack__", "__dlpack_device__"), ("__cuda_array_interface__",)])
def test_arrays_of_other_libraries_are_taken_over(protocols):
    cupy = pytest.importorskip("cupy")
    if not wb.cuda.is_available():
        pytest.skip(f"not run on CUDA: {missing()}")
    inner = cupy.asarray(DATA)

    class Other:
        pass

    for name in protocols:
        value = getattr(inner, name)
        if callable(value):
            setattr(Other, name, lambda self, *args, call=value, **options: call(*args, **options))
        else:
            setattr(Other, name, value)
    found = wb.pairwise_distances(Other())
    np.testing.assert_array_equal(found.get(), wb.pairwise_distances(DATA))


def test_wrong_arrays_on_a_device_are_named(device_library):
    distances, data = wb.pairwise_distances, device_library.send(DATA)
    for kind, text, call in (
        (TypeError, "queries: expected an array on cuda:0 .* host memory", lambda: distances(data, DATA)),
        (TypeError, "data: expected an array on cuda:0 .* host memory", lambda: distances(DATA, data)),
        (TypeError, "real numbers, got dtype complex", lambda: distances(data * 1j)),
        (ValueError, r"data: expected shape \(n, d\), got \(4,\)", lambda: distances(data[0])),
        (ValueError, r"data: expected shape \(n, d\), got \(50, 0\)", lambda: distances(data[:, :0])),
        (ValueError, r"queries: expected shape \(n, 4\)", lambda: distances(data, data[:, :3])),
        (ValueError, "out: expected a float32 array of shape", lambda: distances(data, out=data)),
        (TypeError, "out: expected an array on cuda:0", lambda: distances(data, out=DATA)),
        (ValueError, "device: expected None or 'cuda'", lambda: distances(data, device="cpu")),
        (TypeError, "vectors: expected an array in host memory", lambda: wb.HnswIndex.build(data)),
    ):
        with pytest.raises(kind, match=text):
            call()
    np.testing.assert_array_equal(device_library.fetch(distances(data)), distances(DATA))


def test_misaligned_elements_are_refused():
    cupy = pytest.importorskip("cupy")
    if not wb.cuda.is_available():
        pytest.skip(f"not run on CUDA: {missing()}")
    raw = cupy.zeros(1000, cupy.uint8)
    odd = cupy.ndarray((10, 4), cupy.float32, memptr=raw.data + 2)
    with pytest.raises(ValueError, match="data: expected elements at multiples of their size"):
        wb.pairwise_distances(odd)


def test_too_little_memory_is_told_in_bytes_and_leaks_nothing(device_library):
    rows = np.zeros((2**20, 128), np.float32)
    hoard = [device_library.send(DATA)]
    while (free := wb.cuda.device_info().free_bytes) > 2**28:
        hoard.append(hoard_bytes(device_library, (free - 2**27) // 2 + 2**26))
    with pytest.raises(wb.CudaError, match=r"expected \d+ bytes, got \d+ free") as caught:
        wb.pairwise_distances(rows, rows[:1], device="cuda")
    assert caught.value.code == 2
    assert caught.value.missing is None
    assert wb.cuda.device_info().free_bytes >= free - 2**22
    expected = wb.pairwise_distances(DATA)
    np.testing.assert_array_equal(wb.pairwise_distances(DATA, device="cuda"), expected)
    hoard.clear()
    free_pools(device_library)
    assert wb.pairwise_distances(rows, rows[:1], device="cuda").shape == (1, 2**20)


# ---------------------------------------------------------------- search on a device


def random_rows(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def same_neighbors(found, expected):
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1].view(np.uint32), expected[1].view(np.uint32))


@pytest.mark.parametrize("metric", METRICS)
def test_a_device_matrix_answers_any_number_of_searches(device_library, metric):
    data, queries = random_rows(2000, 40), random_rows(30, 40, seed=1)
    there = device_library.send(data)
    matrices = [wb.cuda.DeviceMatrix(x, metric) for x in (there, data)]
    for matrix in matrices:
        assert matrix.shape == (2000, 40)
        assert matrix.metric == metric
        assert matrix.device == 0
        assert matrix.memory_usage() >= 2000 * 40 * 2
        assert repr(matrix) == f"DeviceMatrix(2000 x 40, metric={metric!r}, device='cuda:0')"
        for k in (1, 10, 100):
            expected = wb.knn(data, queries, k, metric)
            same_neighbors(matrix.search(queries, k), expected)
            found = matrix.search(device_library.send(queries), k)
            assert found.stats[:2].sum() == 30
            same_neighbors([device_library.fetch(x) for x in found[:2]], expected)
            same_neighbors(wb.knn(matrix, queries, k, metric), expected)
    kept = wb.knn(data, k=5, metric=metric)
    same_neighbors([device_library.fetch(x) for x in matrices[0].search(k=5)[:2]], kept)
    same_neighbors(matrices[1].search(k=5)[:2], kept)


def test_rows_before_a_row_are_a_scope(device_library):
    data = random_rows(400, 12)
    for matrix, fetch in (
        (wb.cuda.DeviceMatrix(device_library.send(data)), device_library.fetch),
        (wb.cuda.DeviceMatrix(data), lambda x: x),
    ):
        ids, distances, _ = map(fetch, matrix.search(k=7, scope="earlier"))
        for row in (0, 1, 5, 200, 399):
            expected = wb.knn(data[: max(row, 1)], data[row : row + 1], 7)
            found = 0 if row == 0 else min(row, 7)
            np.testing.assert_array_equal(ids[row, :found], expected.ids[0, :found])
            np.testing.assert_array_equal(distances[row, :found], expected.distances[0, :found])
            assert np.all(ids[row, found:] == -1)
            assert np.all(np.isposinf(distances[row, found:]))


def test_fast_search_returns_true_distances(device_library):
    data, queries = random_rows(3000, 64), random_rows(50, 64, seed=1)
    matrix = wb.cuda.DeviceMatrix(device_library.send(data))
    ids, distances, _ = map(
        device_library.fetch, matrix.search(device_library.send(queries), 10, precision="fast")
    )
    expected = wb.knn(data, queries, 10)
    assert np.mean(ids == expected.ids) > 0.99
    all_distances = wb.pairwise_distances(data, queries)
    np.testing.assert_array_equal(np.take_along_axis(all_distances, ids, 1), distances)


@pytest.mark.parametrize("k", [10, 1100])
def test_poisoned_neighbors_are_overwritten_and_two_runs_agree(device_library, k):
    data = device_library.send(random_rows(1500, 33))
    expected = wb.knn(random_rows(1500, 33), k=k)
    for _ in range(2):
        ids = device_library.send(np.full((1500, k), -7, np.int64))
        distances = device_library.send(np.full((1500, k), np.nan, np.float32))
        found = wb.knn(data, k=k, out=(ids, distances))
        assert found.ids is ids
        assert found.distances is distances
        same_neighbors([device_library.fetch(x) for x in found], expected)


def test_searches_are_ordered_on_the_current_stream():
    torch = pytest.importorskip("torch")
    if not wb.cuda.is_available():
        pytest.skip(f"not run on CUDA: {missing()}")
    data, queries = random_rows(5000, 32), random_rows(20, 32, seed=1)
    matrix, expected = wb.cuda.DeviceMatrix(data), wb.knn(data, queries, 10)
    late = torch.asarray(queries, device="cuda")
    matrix.search(late)  # what is loaded at first waits
    for stream in (torch.cuda.Stream(), torch.cuda.default_stream()):
        points = torch.zeros_like(late)
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            torch.cuda._sleep(50_000_000)
            points.copy_(late)
            found = matrix.search(points)
            assert not stream.query(), "the call waited for its work"
            points.zero_()
            host = [x.cpu().numpy() for x in found]
        same_neighbors(host[:2], expected)


@needs_device
@pytest.mark.parametrize("metric", METRICS)
def test_data_larger_than_the_device_go_through_it_in_parts(metric, monkeypatch):
    from whimbrel import _device_knn

    monkeypatch.setattr(_device_knn, "segment_rows", lambda rows, metric, device: 130)
    monkeypatch.setattr(_device_knn, "CHUNK_ROWS", 50)
    data, queries = random_rows(500, 9).round(1), random_rows(60, 9, seed=1).round(1)
    for k in (1, 10, 600):
        same_neighbors(wb.knn(data, queries, k, metric, device="cuda"), wb.knn(data, queries, k, metric))
        same_neighbors(wb.knn(data, None, k, metric, device="cuda"), wb.knn(data, None, k, metric))


@needs_device
def test_an_interrupt_between_parts_leaves_the_device_usable(monkeypatch):
    from whimbrel import _device_knn, device_matrix

    monkeypatch.setattr(_device_knn, "CHUNK_ROWS", 10)
    monkeypatch.setattr(device_matrix, "CHUNK_ROWS", 10)
    data, seen = random_rows(200, 8), []

    def stop(done, total):
        seen.append((done, total))
        if done >= 50:
            raise KeyboardInterrupt

    for call in (
        lambda progress: wb.knn(data, device="cuda", progress=progress),
        lambda progress: wb.cuda.DeviceMatrix(data).search(data, progress=progress),
    ):
        seen.clear()
        with pytest.raises(KeyboardInterrupt):
            call(stop)
        assert seen[-1] == (50, 200)
        with pytest.raises(wb.CancelledError):
            call(lambda done, total: False)
    same_neighbors(wb.knn(data, device="cuda"), wb.knn(data))


def test_bad_input_of_searches_is_named(device_library):
    spoiled = DATA.copy()
    spoiled[7, 2] = np.nan
    data, bad = device_library.send(DATA), device_library.send(spoiled)
    matrix = wb.cuda.DeviceMatrix(data)
    for kind, text, call in (
        (ValueError, "data: expected finite values, .* row 7", lambda: wb.knn(bad)),
        (ValueError, "data: expected finite values, .* row 7", lambda: wb.knn(spoiled, device="cuda")),
        (ValueError, "data: expected finite values, .* row 7", lambda: wb.cuda.DeviceMatrix(spoiled)),
        (ValueError, "queries: expected finite .* row 7", lambda: wb.knn(DATA, spoiled, device="cuda")),
        (ValueError, "queries: expected finite .* row 7", lambda: matrix.search(spoiled)),
        (ValueError, "k: expected 1", lambda: wb.knn(data, k=0)),
        (ValueError, r"k: expected 1\.\.1024, got 1025", lambda: matrix.search(k=1025)),
        (ValueError, "metric: expected that of data, 'l2'", lambda: wb.knn(matrix, data, metric="ip")),
        (ValueError, "scope: expected 'all' for queries", lambda: matrix.search(data, scope="earlier")),
        (ValueError, "precision: expected 'auto'", lambda: matrix.search(precision="half")),
        (ValueError, r"queries: expected shape \(n, 4\)", lambda: matrix.search(data[:, :3])),
        (ValueError, r"out\[0\]: expected a int64 array", lambda: wb.knn(data, k=4, out=(data, data))),
        (TypeError, "queries: expected an array on cuda:0", lambda: wb.knn(data, DATA)),
        (TypeError, "data: expected an array on cuda:0", lambda: wb.knn(DATA, data)),
        (TypeError, "data: expected real numbers", lambda: wb.knn(data * 1j)),
        (TypeError, "neighbors: expected real numbers", lambda: wb.estimate_lid(neighbors=(0, data * 1j))),
    ):
        with pytest.raises(kind, match=text):
            call()
    ids, distances, stats = map(device_library.fetch, matrix.search(bad, 3))
    assert stats[2] == 1
    assert np.all(ids[7] == -1)
    assert np.all(np.isnan(distances[7]))
    good = np.arange(50) != 7
    same_neighbors((ids[good], distances[good]), wb.knn(DATA, DATA[good], 3))


def test_lid_of_wrong_distances_is_nan_on_a_device(device_library):
    r = np.array([[1, 2, 3], [3, 2, 1], [-1, 2, 3], [1, np.nan, 3]], np.float32)
    lid = wb.estimate_lid(neighbors=(None, device_library.send(r)))
    np.testing.assert_array_equal(np.isnan(device_library.fetch(lid)), [False, True, True, True])
