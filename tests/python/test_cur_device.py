"""What others than the CPU do for a CUR index: proposals for `retrieve`, passes of the greedy choice."""

import numpy as np
import pytest
import whimbrel as wb
from whimbrel._cuda_status import missing


def make_index(n=3000, k_q=40, storage="f32", seed=0):
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((k_q + 20, 8)) @ rng.standard_normal((8, n))
    scores += 0.05 * rng.standard_normal(scores.shape) + 3 * rng.standard_normal(n)
    scores[:, 100:120] = scores[:, 100:101]  # items that nothing tells apart
    return wb.CurIndex.fit(scores[:k_q], storage=storage), scores[k_q:].astype(np.float32)


class Proposer:
    """Exact proposals from the CPU, with a count of those asked for."""

    def __init__(self, cur):
        self.vectors = cur.item_vectors()
        self.norm = float(np.linalg.norm(self.vectors.astype(np.float64), axis=1).max())
        self.asked = []

    def find(self, queries, m):
        self.asked.append(m)
        found = wb.knn(self.vectors, queries, m, "ip")
        return found.ids, -found.distances


def retrieve(cur, proposer, items, scores, k, exclude=False):
    known = np.ascontiguousarray(scores)
    return cur._core.retrieve(items, known, None, k, exclude, -1.0, 0, proposer.find, proposer.norm)


@pytest.mark.parametrize("storage", ["f32", "f16", "int8"])
@pytest.mark.parametrize("exclude", [False, True])
def test_proposals_change_no_result(storage, exclude):
    cur, scores = make_index(storage=storage)
    cur.remove([5, 6, 100])
    items = cur.select_anchors(30)
    proposer = Proposer(cur)
    for k in (1, 10, 100):
        expected = cur.retrieve(items, scores[:, items], k, exclude_scored=exclude)
        found = retrieve(cur, proposer, items, scores[:, items], k, exclude)
        np.testing.assert_array_equal(found[0], expected.ids)
        np.testing.assert_array_equal(found[1].view(np.uint32), expected.scores.view(np.uint32))
    assert len(proposer.asked) == 3


def test_what_proposals_do_not_prove_is_searched():
    cur, scores = make_index()
    items = cur.select_anchors(10)
    proposer = Proposer(cur)
    proposer.norm = 1e30  # a bound that proves nothing
    expected = cur.retrieve(items, scores[:, items], 10)
    np.testing.assert_array_equal(retrieve(cur, proposer, items, scores[:, items], 10)[0], expected.ids)


def test_few_items_and_many_results():
    cur, scores = make_index(n=150)
    items = cur.select_anchors(10)
    proposer = Proposer(cur)
    for k in (149, 150, 200):
        expected = cur.retrieve(items, scores[:3, items], k)
        np.testing.assert_array_equal(retrieve(cur, proposer, items, scores[:3, items], k)[0], expected.ids)
    cur, scores = make_index(n=2000)
    expected = cur.retrieve(items, scores[:3, items], 1500)
    np.testing.assert_array_equal(
        retrieve(cur, Proposer(cur), items, scores[:3, items], 1500)[0], expected.ids
    )


def test_wrong_proposals_are_named():
    cur, scores = make_index(n=500)
    with pytest.raises(ValueError, match="find: expected ids and products of shape"):
        cur._core.retrieve(
            np.arange(5), scores[:, :5].copy(), None, 10, False, -1.0, 0,
            lambda queries, m: (np.zeros((1, m), np.int64), np.zeros((1, m), np.float32)), 1.0,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "device: expected None, 'cpu', 'cuda'"),
        ({"device": "cuda", "rule": "random"}, "device: expected None with rule='random'"),
    ],
)
def test_devices_that_cannot_choose_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_index(n=50)[0].select_anchors(5, **options)


def test_without_a_device_there_is_an_error_that_says_so():
    if wb.cuda.is_available():
        pytest.skip("there is a device")
    cur, _ = make_index(n=50)
    with pytest.raises(wb.cuda.CudaError):
        cur.select_anchors(5, device="cuda")
    with pytest.raises(wb.cuda.CudaError):
        wb.cuda.DeviceItems(cur)
    assert cur.select_anchors(5, device="cpu").tolist() == cur.select_anchors(5).tolist()


@pytest.mark.parametrize("storage", ["f32", "f16", "int8"])
def test_a_device_chooses_and_retrieves_as_the_cpu(storage):
    if not wb.cuda.is_available():
        pytest.skip(f"not run on CUDA: {missing()}")
    cur, scores = make_index(storage=storage)
    cur.remove([5, 6, 100])
    items = cur.select_anchors(40, device="cuda")
    np.testing.assert_array_equal(items, cur.select_anchors(40))
    there = wb.cuda.DeviceItems(cur)
    assert repr(there) == "DeviceItems(3000 items, device='cuda:0')"
    assert there.memory_usage() > 3000 * cur.dim * 2
    for k in (1, 10, 100):
        for exclude in (False, True):
            expected = cur.retrieve(items, scores[:, items], k, exclude_scored=exclude)
            found = cur.retrieve(items, scores[:, items], k, exclude_scored=exclude, items=there)
            np.testing.assert_array_equal(found.ids, expected.ids)
            np.testing.assert_array_equal(found.scores.view(np.uint32), expected.scores.view(np.uint32))
    one = cur.retrieve(items, scores[0, items], items=there)
    np.testing.assert_array_equal(one.ids, cur.retrieve(items, scores[0, items]).ids)
    cur.add_items(scores[:20, :3].repeat(2, 0))
    with pytest.raises(ValueError, match="items: expected the items of this index as it is"):
        cur.retrieve(items, scores[:, items], items=there)
