"""Indexes whose searches run on codes: what they find, what they return, and what they are when saved."""

from pathlib import Path

import numpy as np
import pytest
import whimbrel as wb


def low_rank(n, dim=256, latent=24, seed=0):
    """Points of a low dimension in a high one, with some noise."""
    rng = np.random.default_rng(seed)
    basis = rng.standard_normal((latent, dim)) / np.sqrt(dim)
    points = rng.standard_normal((n, latent)) @ basis + 0.002 * rng.standard_normal((n, dim))
    return points.astype(np.float32)


def recall(found, truth):
    return np.mean([len(np.intersect1d(a, b)) for a, b in zip(found, truth, strict=True)]) / truth.shape[1]


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
@pytest.mark.parametrize(
    ("codec", "dim", "bits"),
    [*(("sq8", d, 8) for d in (3, 60, 64, 100)), ("sq4", 3, 8), ("sq4", 65, 4), ("sq4", 129, 4)],
)
def test_codes_find_what_f32_finds(metric, codec, dim, bits):
    rng = np.random.default_rng(dim)
    data = rng.standard_normal((3000 if bits == 8 else 1500, dim)).astype(np.float32)
    queries = rng.standard_normal((100, dim)).astype(np.float32)
    truth = wb.knn(data, queries, 10, metric).ids
    params = {"metric": metric, "M": 12, "ef_construction": 80}
    plain = wb.HnswIndex.build(data, codec="f32", **params)
    coded = wb.HnswIndex.build(data, codec=codec, **params)
    assert (coded.stats.code_dim, coded.stats.code_bits) == (dim, bits)
    assert not coded.stats.projected
    floor = recall(plain.search(queries, 10, ef_search=100).ids, truth) - (0.02 if codec == "sq8" else 0.03)
    assert recall(coded.search(queries, 10, ef_search=100).ids, truth) >= floor


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
@pytest.mark.parametrize("codec", ["sq8", "sq4", "auto"])
def test_distances_are_those_of_the_vectors(metric, codec):
    data = low_rank(9000 if codec == "auto" else 2000, dim=192)
    queries = low_rank(50, dim=192, seed=1)
    index = wb.HnswIndex.build(data, metric=metric, codec=codec, M=8, ef_construction=60)
    assert index.stats.code_dim > 0
    hits = index.search(queries, 10)
    exact = wb.knn(data, queries, len(data) // 2, metric)
    for ids, distances, all_ids, all_distances in zip(*hits, *exact, strict=True):
        known = dict(zip(all_ids.tolist(), all_distances.tolist(), strict=True))
        for i, d in zip(ids.tolist(), distances.tolist(), strict=True):
            assert known[i] == d  # bit for bit
        assert np.all(np.diff(distances) >= 0)


def test_auto_projects_data_of_a_low_dimension_and_keeps_recall():
    data = low_rank(10000)
    queries = low_rank(200, seed=0)[:200]
    index = wb.HnswIndex.build(data, codec="auto", M=12, ef_construction=80)
    assert index.stats.projected
    assert index.stats.code_dim < 256
    truth = wb.knn(data, queries, 10).ids
    assert recall(index.search(queries, 10, ef_search=100).ids, truth) >= 0.97


def test_auto_measures_vectors_where_codes_blur_neighborhoods():
    """Clusters far apart, each a thousand times narrower than one step of a code."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((100, 16)) * 1000
    data = (np.repeat(centers, 100, axis=0) + 1e-3 * rng.standard_normal((10000, 16))).astype(np.float32)
    index = wb.HnswIndex.build(data, codec="auto", M=8, ef_construction=60)
    assert index.codec == "auto"
    assert index.stats.code_dim == 0


@pytest.mark.parametrize("codec", ["sq8", "sq4", "auto"])
def test_small_indexes_have_no_codes(codec):
    for n in (0, 1, 2, 1023):
        data = np.random.default_rng(n).random((n, 5), dtype=np.float32)
        index = wb.HnswIndex(5, codec=codec, M=4)
        index.add(data)
        assert index.codec == codec
        assert index.stats.code_dim == 0
        hits = index.search(np.zeros(5, np.float32), 3)
        assert np.count_nonzero(hits.ids >= 0) == min(n, 3)
        again = wb.HnswIndex.loads(index.dumps())
        assert again.codec == codec
        assert again.dumps() == index.dumps()


@pytest.mark.parametrize(("codec", "dim"), [("sq8", 20), ("sq4", 80)])
def test_codes_are_learned_at_1024_vectors_and_again_at_four_times_that(codec, dim):
    data = np.tile(np.random.default_rng(0).standard_normal((5000, 20)), dim // 20).astype(np.float32)
    index = wb.HnswIndex(dim, codec=codec, M=6, ef_construction=40)
    index.add(data[:1000])
    assert index.stats.code_dim == 0
    index.add(data[1000:1100])
    assert index.stats.code_dim == dim
    index.add(data[1100:4000] * 100)  # far outside of what was learned
    index.add(data[4000:] * 100)
    assert len(index) == 5000
    everything = np.concatenate([data[:1100], data[1100:] * 100])
    queries = everything[1100::50]
    truth = wb.knn(everything, queries, 5).ids
    assert recall(index.search(queries, 5, ef_search=200).ids, truth) >= (0.95 if codec == "sq8" else 0.92)


def test_codes_may_change_their_form_between_searches():
    rng = np.random.default_rng(0)
    index = wb.HnswIndex(192, codec="auto", M=8, ef_construction=30)
    flat, full = low_rank(8192, dim=192), 0.1 * rng.standard_normal((3 * 8192, 192)).astype(np.float32)
    index.add(flat)
    assert index.stats.projected
    hits = index.search(flat[:50], 1, ef_search=200, threads=1)
    assert np.mean(hits.ids[:, 0] == np.arange(50)) > 0.9
    index.add(full)
    assert not index.stats.projected
    hits = index.search(flat[:50], 5, threads=1)
    fresh = wb.HnswIndex.loads(index.dumps()).search(flat[:50], 5, threads=1)
    np.testing.assert_array_equal(hits.ids, fresh.ids)


def test_a_failed_add_leaves_codes_as_they_were():
    data = np.random.default_rng(0).standard_normal((6000, 20)).astype(np.float32)
    index = wb.HnswIndex.build(data[:1200], codec="sq8", M=6, ef_construction=40)
    before = index.dumps()
    with pytest.raises(ValueError, match="ids"):
        index.add(data[1200:], ids=np.zeros(4800, np.int64))
    with pytest.raises(wb.CancelledError):
        index.add(data[1200:], progress=lambda done, total: False)
    assert index.dumps() == before


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_queries_and_rows_must_be_finite(value):
    data = np.random.default_rng(0).standard_normal((2000, 8)).astype(np.float32)
    index = wb.HnswIndex.build(data, codec="sq8", M=4, ef_construction=20)
    bad = data[:2].copy()
    bad[1, 3] = value
    with pytest.raises(ValueError, match="row 1"):
        index.search(bad)
    with pytest.raises(ValueError, match="row 1"):
        index.add(bad)


@pytest.mark.parametrize(("codec", "dim"), [("sq8", 8), ("sq4", 70)])
def test_queries_of_any_size_are_answered(codec, dim):
    data = np.random.default_rng(0).standard_normal((2000, dim)).astype(np.float32)
    for metric in ("l2", "ip", "cosine"):
        index = wb.HnswIndex.build(data, metric=metric, codec=codec, M=4, ef_construction=20)
        for scale in (0, 1e-38, 1e-20, 1e20, 3e38):
            hits = index.search(np.full(dim, scale, np.float32), 3)
            assert hits.ids.shape == (3,)
            assert len(set(hits.ids[hits.ids >= 0])) == np.count_nonzero(hits.ids >= 0)


@pytest.mark.parametrize(("codec", "dim"), [("sq8", 32), ("sq4", 96)])
def test_outliers_keep_their_place(codec, dim):
    """One value in a thousand a thousand times as large: they are far from the rest, and near themselves."""
    rng = np.random.default_rng(0)
    data = rng.standard_normal((4000, dim)).astype(np.float32)
    data[::1000] *= 1000
    data[:, 5] = 3  # varies nowhere
    index = wb.HnswIndex.build(data, codec=codec, M=12, ef_construction=100)
    queries = data[1:200]
    truth = wb.knn(data, queries, 10).ids
    assert recall(index.search(queries, 10, ef_search=120).ids, truth) >= 0.97
    assert index.search(data[2000], 1, ef_search=200).ids[0] == 2000


@pytest.mark.parametrize("codec", ["sq8", "sq4"])
def test_equal_points_are_all_found(codec):
    data = np.ones((1500, 70), np.float32)
    index = wb.HnswIndex.build(data, codec=codec, M=4, ef_construction=40)
    hits = index.search(data[0], 20)
    assert np.all(hits.distances == 0)
    assert len(set(hits.ids.tolist())) == 20


def test_unknown_codecs_are_named():
    with pytest.raises(ValueError, match="codec: expected 'f32', 'f16', 'sq8', 'sq4' or 'auto', got 'sq16'"):
        wb.HnswIndex(4, codec="sq16")


def test_memory_counts_codes():
    data = np.random.default_rng(0).standard_normal((2048, 100)).astype(np.float32)
    plain, coded, coarse = (
        wb.HnswIndex.build(data, codec=c, M=4, ef_construction=20) for c in ("f32", "sq8", "sq4")
    )
    assert coded.memory_usage() - plain.memory_usage() == 2048 * 128 + 2 * 100 * 4
    assert coarse.memory_usage() - plain.memory_usage() == 2048 * 64 + 2 * 100 * 4


@pytest.mark.parametrize("codec", ["sq8", "auto"])
def test_bytes_do_not_depend_on_threads(codec):
    data = low_rank(8500, dim=256)
    one, two, seven = (
        wb.HnswIndex.build(data, codec=codec, M=4, ef_construction=20, threads=t).dumps() for t in (1, 2, 7)
    )
    assert one == two == seven


PROGRAM = """
import numpy as np, whimbrel as wb
rng = np.random.default_rng(0)
basis = rng.standard_normal((20, 256))
data = (rng.standard_normal((8200, 20)) @ basis + 0.05 * rng.standard_normal((8200, 256))).astype(np.float32)
index = wb.HnswIndex.build(data, codec="auto", M=4, ef_construction=10)
assert index.stats.projected
coarse = wb.HnswIndex.build(data[:1500, :131], codec="sq4", M=4, ef_construction=10)
for file, form in ((index.dumps(), b"CODC"), (coarse.dumps(), b"COD4")):
    for tag in (form, b"CODV", b"CODE"):
        row = file.index(tag, 64)
        print(file[row + 24 : row + 32].hex())  # the checksum of the section
only = wb.HnswIndex.build(data[:1500, :131], codec="sq4", rerank="none", M=4, ef_construction=10)
only.add(data[1500:1700, :131])
print([coarse.search(data[:50, :131]).ids.tobytes(), only.dumps()])
"""


def test_codes_do_not_depend_on_the_instruction_set(isa, run_python):
    assert run_python(PROGRAM, isa=isa) == run_python(PROGRAM)


@pytest.fixture(scope="module", params=[("sq8", 3, "f32"), ("sq4", 3, "f32"), ("sq4", 66, "none")])
def saved(request):
    codec, dim, rerank = request.param
    data = np.random.default_rng(0).random((1024, dim), dtype=np.float32)
    return wb.HnswIndex.build(data, M=2, ef_construction=10, codec=codec, rerank=rerank).dumps()


def test_a_file_keeps_its_codes(saved):
    index = wb.HnswIndex.loads(saved)
    assert index.stats.code_dim == index.dim
    assert index.stats.code_bits == (4 if index.dim == 66 else 8)
    assert index.dumps() == saved


def test_files_with_codes_of_every_released_version_are_read():
    path = Path(__file__).parents[1] / "data" / "codes_v1.whb"
    index = wb.HnswIndex.load(path)
    assert (len(index), index.dim, index.codec, index.stats.code_dim) == (1024, 4, "sq8", 4)
    assert index.dumps() == path.read_bytes()
    half = np.random.default_rng(1).integers(-8, 8, (512, 4)).astype(np.float32)
    data = np.concatenate([half, -half])
    np.testing.assert_array_equal(index.get_vectors(np.arange(1024)), data)
    found, truth = index.search(data, 5, ef_search=500), wb.knn(data, data, 5)
    assert recall(found.ids, truth.ids) > 0.9


def test_a_file_with_codes_of_4_bits_is_read_as_it_was_written():
    path = Path(__file__).parents[1] / "data" / "codes4_v1.whb"
    index = wb.HnswIndex.load(path)
    assert (len(index), index.dim, index.codec, index.rerank) == (1024, 65, "sq4", "none")
    assert (index.stats.code_dim, index.stats.code_bits) == (65, 4)
    assert index.dumps() == path.read_bytes()
    data = np.tile(np.random.default_rng(4).integers(-8, 8, (1024, 5)), 13).astype(np.float32)
    assert np.abs(index.get_vectors(np.arange(1024)) - data).max() < 1.5
    found, truth = index.search(data[:200], 1, ef_search=500), wb.knn(data, data[:200], 1)
    np.testing.assert_array_equal(found.ids, truth.ids)


def test_damaged_codes_are_found(saved):
    rng = np.random.default_rng(0)
    for position in [*range(64, 512), *rng.integers(512, len(saved), 500)]:
        damaged = bytearray(saved)
        damaged[position] ^= 1 << position % 8
        with pytest.raises(wb.FormatError):
            wb.HnswIndex.loads(damaged)
    for size in rng.integers(0, len(saved), 100):
        with pytest.raises(wb.FormatError):
            wb.HnswIndex.loads(saved[:size])


HALVES = [("f16", None), ("f16", "f16"), ("sq4", "f16"), ("auto", "f16")]


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
@pytest.mark.parametrize(("codec", "rerank"), HALVES)
def test_vectors_in_float16_are_the_rounded_ones(metric, codec, rerank):
    data, queries = low_rank(8200, dim=70), low_rank(30, dim=70, seed=1)
    index = wb.HnswIndex.build(data, metric=metric, codec=codec, rerank=rerank, M=6, ef_construction=40)
    plain = wb.HnswIndex(70, metric=metric, M=2)
    plain.add(data[:1])
    assert (index.codec, index.rerank, plain.rerank) == (codec, "f16", "f32")
    stored = index.get_vectors(np.arange(8200))
    whole = data / np.linalg.norm(data, axis=1, keepdims=True) if metric == "cosine" else data
    np.testing.assert_allclose(stored, whole.astype(np.float16).astype(np.float32), rtol=1e-3, atol=1e-7)
    assert np.array_equal(stored, stored.astype(np.float16))
    hits = index.search(queries, 10, ef_search=200)
    unit = queries / np.linalg.norm(queries, axis=1, keepdims=True) if metric == "cosine" else queries
    for q, ids, distances in zip(unit.astype(np.float64), hits.ids, hits.distances, strict=True):
        rows = stored[ids].astype(np.float64)
        truth = ((rows - q) ** 2).sum(1) if metric == "l2" else (metric == "cosine") - rows @ q
        np.testing.assert_allclose(distances, truth, rtol=1e-4, atol=1e-5)
        assert np.all(np.diff(distances) >= 0)
    assert recall(hits.ids, wb.knn(stored, unit, 10, "ip" if metric == "cosine" else metric).ids) > 0.95
    again = wb.HnswIndex.loads(index.dumps())
    assert (again.codec, again.rerank) == (codec, "f16")
    assert again.dumps() == index.dumps()
    np.testing.assert_array_equal(again.search(queries, 10, ef_search=200).ids, hits.ids)


def test_float16_halves_the_memory_of_the_vectors():
    data = np.random.default_rng(0).standard_normal((2048, 128)).astype(np.float32)
    sizes = {
        rerank: wb.HnswIndex.build(data, codec="sq8", rerank=rerank, M=4, ef_construction=20).memory_usage()
        for rerank in ("f32", "f16")
    }
    assert sizes["f32"] - sizes["f16"] == 2048 * 128 * 2


@pytest.mark.parametrize(("codec", "dim"), [("f16", 9), ("sq8", 9), ("sq4", 72)])
def test_indexes_in_float16_of_any_size_grow(codec, dim):
    rng = np.random.default_rng(0)
    index = wb.HnswIndex(dim, codec=codec, rerank="f16", M=4, ef_construction=30)
    data = np.tile(rng.standard_normal((3000, 9)), dim // 9).astype(np.float32)
    for begin, end in ((0, 1), (1, 300), (300, 310), (310, 3000)):
        index.add(data[begin:end])
    assert recall(index.search(data[:200], 1, ef_search=100).ids, np.arange(200)[:, None]) > 0.95
    exact = wb.HnswIndex.build(data, codec=codec, rerank="f16", M=4, candidates="exact")
    assert recall(exact.search(data[:200], 1, ef_search=100).ids, np.arange(200)[:, None]) > 0.95


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_values_beyond_float16_are_refused(metric):
    data = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    index = wb.HnswIndex.build(data, metric=metric, codec="f16", M=4)
    before = index.dumps()
    far = data.copy()
    far[7, 2] = -65520
    if metric == "cosine":
        index.add(far)  # it has a length of 1
        return
    with pytest.raises(ValueError, match=r"vectors: expected values up to 65504 .* in row 7"):
        index.add(far)
    assert index.dumps() == before


def test_forms_that_do_not_go_together_are_named():
    with pytest.raises(ValueError, match="rerank: expected f32 with codec f32"):
        wb.HnswIndex(4, rerank="f16")
    with pytest.raises(ValueError, match="rerank: expected f16 with codec f16"):
        wb.HnswIndex(4, codec="f16", rerank="f32")
    with pytest.raises(ValueError, match="rerank: expected 'f32', 'f16' or 'none', got 'f8'"):
        wb.HnswIndex(4, codec="sq8", rerank="f8")


@pytest.mark.parametrize("codec", ["f16", "sq8"])
def test_damaged_float16_is_found(codec):
    data = np.random.default_rng(0).random((1100, 3), dtype=np.float32)
    saved = wb.HnswIndex.build(data, M=2, ef_construction=10, codec=codec, rerank="f16").dumps()
    for position in np.random.default_rng(1).integers(0, len(saved), 300):
        damaged = bytearray(saved)
        damaged[position] ^= 1 << int(position) % 8
        with pytest.raises(wb.FormatError):
            wb.HnswIndex.loads(damaged)
