"""The module for ann-benchmarks, driven by a stand-in for its runner on a file in its format."""

import importlib
import sys
import types

import numpy as np
import pytest
import whimbrel as wb
from bench_rows import ROOT

from bench import data


class BaseANN:
    """What the base class of ann-benchmarks gives to an algorithm."""

    def done(self):
        pass


@pytest.fixture
def algorithm(monkeypatch):
    """The module as ann-benchmarks imports it, as a part of its own package."""
    folder = ROOT / "bench/ann_benchmarks"
    for name, path in {
        "ann_benchmarks": None,
        "ann_benchmarks.algorithms": folder,
        "ann_benchmarks.algorithms.base": None,
        "ann_benchmarks.algorithms.base.module": None,
        "ann_benchmarks.algorithms.whimbrel": folder / "whimbrel",
    }.items():
        module = types.ModuleType(name)
        module.__path__ = [] if path is None else [str(path)]
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules["ann_benchmarks.algorithms.base.module"].BaseANN = BaseANN
    yield importlib.import_module("ann_benchmarks.algorithms.whimbrel.module").Whimbrel
    sys.modules.pop("ann_benchmarks.algorithms.whimbrel.module")


def run_as_ann_benchmarks_does(algorithm, file, argument, count, batch):
    """A stand-in for its runner: fit, then query one by one or at once; recall by its own distances."""
    train, test, truth = (np.array(file[name]) for name in ("train", "test", "distances"))
    before = algorithm.get_memory_usage()
    algorithm.fit(train)
    assert algorithm.get_memory_usage() - before > train.nbytes / 1024
    algorithm.set_query_arguments(*argument)
    if batch:
        algorithm.batch_query(test, count)
        found = algorithm.get_batch_results()
    else:
        found = [algorithm.query(v, count) for v in test]
    if file.attrs["distance"] == "angular":
        train, test = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (train, test))
    hits = 0
    for ids, v, near in zip(found, test, truth, strict=True):
        assert len(set(ids)) == len(ids) == count
        distances = np.linalg.norm(train[[int(i) for i in ids]] - v, axis=1)
        hits += np.count_nonzero(distances <= near[count - 1] + 1e-3)
    extra = algorithm.get_additional()
    name = str(algorithm)
    algorithm.done()
    return hits / (count * len(test)), extra, name


@pytest.mark.parametrize("distance", ["euclidean", "angular"])
@pytest.mark.parametrize("batch", [False, True])
def test_the_ann_benchmarks_module_is_driven_by_its_file_format(algorithm, tmp_path, distance, batch):
    h5py = pytest.importorskip("h5py")
    points = np.random.default_rng(5).standard_normal((2100, 12)).astype(np.float32)
    base, queries = points[100:], points[:100]
    path = tmp_path / "toy-12.hdf5"
    metric = "l2" if distance == "euclidean" else "cosine"
    near = wb.knn(base, queries, 100, metric)
    lengths = np.sqrt(near.distances if metric == "l2" else 2 * near.distances)
    with h5py.File(path, "w") as file:
        file.attrs.update({"type": "dense", "distance": distance, "dimension": 12, "point_type": "float"})
        file["train"], file["test"], file["neighbors"], file["distances"] = base, queries, near.ids, lengths
    with h5py.File(path, "r") as file:
        made = algorithm(distance, {"M": 8, "ef_construction": 100})
        recall, extra, name = run_as_ann_benchmarks_does(made, file, [200], 10, batch)
    assert recall > 0.95
    assert name == "whimbrel(M=8, ef_construction=100, ef=200)"
    assert (extra["dist_comps"] > 100 * 200) if batch else extra == {}
    rows = data.load(str(path))
    assert (rows.metric, rows.base.shape) == (metric, base.shape)
    with pytest.raises(ValueError, match="metric: expected euclidean or angular, got 'hamming'"):
        algorithm("hamming", {})


def test_the_ann_benchmarks_config_names_what_is_there(algorithm):
    text = (ROOT / "bench/ann_benchmarks/whimbrel/config.yml").read_text()
    assert f"constructor: {algorithm.__name__}" in text
    for options in ("{M: 8,", "{M: 16,", "{M: 32,"):
        assert options in text
