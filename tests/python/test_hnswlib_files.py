"""Files of hnswlib: read as they are, written so that hnswlib reads them, refused if anything is wrong."""

import math
import struct

import numpy as np
import pytest
import whimbrel as wb

M, DIM = 3, 4
HEADER = "<6Q i I 3Q d Q"
FIELDS = ["level0", "room", "size", "element", "labels_at", "vectors_at", "max_level", "entry"]
FIELDS += ["max_M", "max_M0", "M", "scale", "ef_construction"]


class Element:
    def __init__(self, vector, label, lists, removed=False):
        self.vector, self.label, self.lists, self.removed = vector, label, lists, removed


def elements():
    """Six points on a line and one above; all linked to their neighbors, two of them on level 1 too."""
    links = [[1, 2], [0, 2], [1, 3, 0], [2, 4], [3, 5], [4, 3], [0, 5]]
    made = [Element([float(i), 0, 0, 1], 100 + i * i, [row]) for i, row in enumerate(links)]
    made[6].vector = [2.0, 3, 0, 1]
    for a, b in ((2, 6), (6, 2)):
        made[a].lists.append([b])
    return made


def file_of(made, **fields):
    """The file of such elements, with some fields of the header replaced."""
    head = dict.fromkeys(FIELDS, 0)
    head |= {
        "room": len(made) + 3,
        "size": len(made),
        "vectors_at": 4 + 8 * M,
        "labels_at": 4 + 8 * M + 4 * DIM,
    }
    head |= {
        "element": 4 + 8 * M + 4 * DIM + 8,
        "max_level": 1,
        "entry": 6,
        "max_M": M,
        "max_M0": 2 * M,
        "M": M,
    }
    head |= {"scale": 1 / math.log(M), "ef_construction": 50} | fields
    data = struct.pack(HEADER, *(head[name] for name in FIELDS))
    for e in made:
        word, row = len(e.lists[0]) | (0x10000 if e.removed else 0), e.lists[0]
        data += struct.pack("<I", word) + np.array(row + [7] * (2 * M - len(row)), "<u4").tobytes()
        data += np.array(e.vector, "<f4").tobytes() + struct.pack("<Q", e.label)
    for e in made:
        data += struct.pack("<I", (len(e.lists) - 1) * (4 + 4 * M))
        for row in e.lists[1:]:
            data += struct.pack("<I", len(row)) + np.array(row + [7] * (M - len(row)), "<u4").tobytes()
    return data


def read(tmp_path, data, dim=DIM, metric="l2"):
    (tmp_path / "a.bin").write_bytes(data)
    return wb.HnswIndex.from_hnswlib(tmp_path / "a.bin", dim, metric)


def test_a_file_is_taken_over(tmp_path):
    made = elements()
    index = read(tmp_path, file_of(made))
    labels = [e.label for e in made]
    assert (len(index), index.dim, index.M, index.ef_construction, index.metric) == (7, DIM, M, 50, "l2")
    np.testing.assert_array_equal(index.ids, labels)
    np.testing.assert_array_equal(index.get_vectors(labels), [e.vector for e in made])
    for e in made:
        for level, row in enumerate(e.lists):
            assert index.neighbors(e.label, level).tolist() == [labels[i] for i in row]
    assert index.stats.level_sizes == (7, 2)
    found = index.search([4.0, 0, 0, 1], 3)
    assert (found.ids.tolist(), found.distances.tolist()) == ([116, 109, 125], [0, 1, 1])
    assert wb.HnswIndex.loads(index.dumps()).dumps() == index.dumps()
    index.add(np.ones((20, DIM)), ids=range(20))
    assert index.search(np.ones(DIM), 1).ids[0] == 0


def test_what_is_written_is_what_was_read(tmp_path):
    made = elements()
    made[3].removed = True
    made[3].label = 126  # behind the others, where removed points are written
    read(tmp_path, file_of(made)).to_hnswlib(tmp_path / "b.bin")
    written = (tmp_path / "b.bin").read_bytes()
    assert struct.unpack(HEADER, written[:96])[3:] == struct.unpack(HEADER, file_of(made)[:96])[3:]
    again = wb.HnswIndex.from_hnswlib(tmp_path / "b.bin", DIM)
    assert again.dumps() == read(tmp_path, file_of(made)).dumps()


def test_removed_elements_lead_on_and_are_not_found(tmp_path):
    made = elements()
    made[6].removed = made[3].removed = True
    index = read(tmp_path, file_of(made))
    assert (len(index), index.stats.removed) == (5, 2)
    found = index.search([3.0, 0, 0, 1], 7)
    assert set(found.ids.tolist()) == {100, 101, 104, 116, 125, -1}
    index.compact()
    assert (len(index), index.stats.removed) == (5, 0)
    for e in made:
        e.removed = True
    empty = read(tmp_path, file_of(made))
    assert (len(empty), empty.dim, empty.M) == (0, DIM, M)


def test_labels_that_are_row_numbers_go_on(tmp_path):
    made = elements()
    for i, e in enumerate(made):
        e.label = i
    index = read(tmp_path, file_of(made))
    index.add(np.zeros((1, DIM)))
    assert index.ids.tolist() == list(range(8))


def test_links_that_lead_nowhere_new_are_left_out(tmp_path):
    made = elements()
    made[0].lists[0] = [1, 0, 2, 1]
    assert read(tmp_path, file_of(made)).neighbors(100).tolist() == [101, 104]


def test_an_empty_index_goes_both_ways(tmp_path):
    wb.HnswIndex(DIM, M=M).to_hnswlib(tmp_path / "b.bin")
    assert len(wb.HnswIndex.from_hnswlib(tmp_path / "b.bin", DIM)) == 0
    assert len(read(tmp_path, file_of([], max_level=-1, entry=2**32 - 1))) == 0


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
@pytest.mark.parametrize("codec", ["f32", "f16", "sq8"])
def test_an_index_comes_back(cube, tmp_path, metric, codec):
    base = cube[0][:1100] - np.float32(0.5)
    index = wb.HnswIndex.build(base, np.arange(1100) * 2, metric, M=4, ef_construction=20, codec=codec)
    index.remove([4, 10])
    index.to_hnswlib(tmp_path / "b.bin")
    again = wb.HnswIndex.from_hnswlib(tmp_path / "b.bin", 16, metric)
    np.testing.assert_array_equal(again.ids, index.ids)
    np.testing.assert_array_equal(again.get_vectors(index.ids), index.get_vectors(index.ids))
    for id in index.ids[::50].tolist():
        np.testing.assert_array_equal(again.neighbors(id), index.neighbors(id))
    found, truth = again.search(cube[1], 5, exact=True), index.search(cube[1], 5, exact=True)
    np.testing.assert_array_equal(found.distances, truth.distances)
    assert (again.search(cube[1], 5).ids == truth.ids).mean() > 0.8
    assert again.codec == "f32"


def patched(data, at, word):
    return data[:at] + struct.pack("<I", word) + data[at + 4 :]


def wrong(change):
    made = elements()
    return change(made) or file_of(made)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda made: file_of(made, M=2), "links on upper levels"),
        (lambda made: file_of(made, M=0, max_M=0, max_M0=0), "M of 2 to 512"),
        (lambda made: file_of(made, M=2**61, max_M=2**61, max_M0=2**62), "M of 2 to 512"),
        (lambda made: file_of(made, max_M0=M), "links on level 0 6, got 3"),
        (lambda made: file_of(made, level0=4), "lists at 0, got 4"),
        (lambda made: file_of(made, vectors_at=0), "vectors at"),
        (lambda made: file_of(made, labels_at=2**63), "labels at"),
        (lambda made: file_of(made, element=2**64 - 1), "elements of bytes"),
        (lambda made: file_of(made, size=2**40, room=2**40), "at most 2"),
        (lambda made: file_of(made, size=2**31 - 2, room=2**32), "file: expected"),
        (lambda made: file_of(made, room=6), "room"),
        (lambda made: file_of(made, entry=7), "enter"),
        (lambda made: file_of(made, entry=0), "entry point on the top level"),
        (lambda made: file_of(made, max_level=-1), "levels"),
        (lambda made: file_of(made, max_level=0), "entry point on the top level"),
        (lambda made: file_of(made, max_level=64), "levels"),
        (lambda made: file_of(made, scale=math.nan), "scale"),
        (lambda made: file_of(made, ef_construction=0), "ef_construction"),
        (lambda made: made[0].lists[0].__setitem__(0, 7), "links to elements, got 7"),
        (lambda made: made[2].lists[1].__setitem__(0, 3), "links to existing nodes"),
        (lambda made: made[0].vector.__setitem__(1, math.inf), "finite vectors"),
        (lambda made: setattr(made[0], "label", 2**63), "labels below"),
        (lambda made: setattr(made[0], "label", 125), "ids: expected each once, got 125 twice"),
        (lambda made: file_of(made)[:-1], "truncated"),
        (lambda made: file_of(made) + b"\0", "the end of the file"),
        (lambda made: b"\0" * 7, "truncated"),
        (lambda made: patched(file_of(made), 96 + 7 * 52, 5), "whole lists"),
        (lambda made: patched(file_of(made), 96 + 7 * 52, 16 * 64), "up to 63 levels"),
        (lambda made: patched(file_of(made), 96, 2 * M + 1), "at most 6 links, got 7"),
        (lambda made: patched(file_of(made), 96, 2**24), "removed or not"),
    ],
)
def test_anything_wrong_is_refused(tmp_path, change, message):
    with pytest.raises(wb.FormatError, match=message):
        read(tmp_path, wrong(change))


def test_another_dimension_or_metric_is_refused(tmp_path):
    with pytest.raises(wb.FormatError, match="labels at 48, got 44"):
        read(tmp_path, file_of(elements()), dim=5)
    with pytest.raises(wb.FormatError, match="vectors of length 1 for cosine"):
        read(tmp_path, file_of(elements()), metric="cosine")
    with pytest.raises(ValueError, match="metric: expected"):
        read(tmp_path, file_of(elements()), metric="euclid")
    with pytest.raises(FileNotFoundError):
        wb.HnswIndex.from_hnswlib(tmp_path / "none", 4)


def test_bytes_have_no_place_in_such_a_file(tmp_path):
    index = wb.HnswIndex.build(np.eye(DIM, dtype=np.int8), dtype="int8")
    with pytest.raises(ValueError, match="index: expected float32"):
        index.to_hnswlib(tmp_path / "b.bin")
    assert not (tmp_path / "b.bin").exists()


def test_any_damage_is_found_or_leaves_an_index_that_can_be_searched(tmp_path):
    """There is no checksum. Sizes of parts, and links that lead out of the graph, are always found."""
    made = elements()
    made[3].removed = True
    whole, found = file_of(made), 0
    for position in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        try:
            index = read(tmp_path, bytes(damaged))
        except wb.FormatError:
            found += 1
            continue
        assert not np.isnan(index.search(np.zeros((2, DIM)), 7).distances).any()
        index.compact()
    assert found > 0.1 * len(whole)
    for size in range(0, len(whole), 7):
        with pytest.raises(wb.FormatError, match="truncated"):
            read(tmp_path, whole[:size])


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_hnswlib_and_this_index_find_the_same_in_each_others_files(cube, tmp_path, metric):
    hnswlib = pytest.importorskip("hnswlib")
    base, queries = cube[0] - np.float32(0.5), cube[1] - np.float32(0.5)
    shift = 1 if metric == "ip" else 0  # theirs is 1 less the product
    theirs = hnswlib.Index(metric, 16)
    theirs.init_index(3000, ef_construction=100, M=8, random_seed=1)
    theirs.add_items(base, np.arange(2000) * 2 + 1, num_threads=1)
    for label in (1, 7, 9):
        theirs.mark_deleted(label)
    theirs.save_index(str(tmp_path / "theirs.bin"))
    ours = wb.HnswIndex.from_hnswlib(tmp_path / "theirs.bin", 16, metric)
    assert len(ours) == 1997
    back = hnswlib.Index(metric, 16)
    ours.to_hnswlib(tmp_path / "ours.bin")
    back.load_index(str(tmp_path / "ours.bin"))
    truth = ours.search(queries, 10, exact=True)
    for index in (theirs, back):
        index.set_ef(100)
        labels, distances = index.knn_query(queries, 10, num_threads=1)
        hits = ours.search(queries, 10, ef_search=100)
        np.testing.assert_allclose(np.sort(distances, axis=1) - shift, hits.distances, atol=1e-4)
        recall = [(labels == truth.ids).mean(), (hits.ids == truth.ids).mean()]
        assert recall == pytest.approx([1, 1], abs=0.02)

    mine = wb.HnswIndex.build(base, metric=metric, M=8, ef_construction=100)
    mine.remove([3])
    mine.to_hnswlib(tmp_path / "mine.bin")
    loaded = hnswlib.Index(metric, 16)
    loaded.load_index(str(tmp_path / "mine.bin"))
    assert loaded.get_current_count() == 2000
    loaded.set_ef(64)
    labels, distances = loaded.knn_query(queries, 10)
    hits, truth = mine.search(queries, 10, ef_search=64), mine.search(queries, 10, exact=True)
    np.testing.assert_allclose(np.sort(distances, axis=1) - shift, hits.distances, atol=1e-4)
    assert abs((labels == truth.ids).mean() - (hits.ids == truth.ids).mean()) < 0.01
    loaded.resize_index(2100)
    loaded.add_items(queries, np.arange(5000, 5100))  # their additions go on in our graph
    labels = np.append(mine.ids, np.arange(5000, 5100))
    best = wb.knn(np.concatenate([np.delete(base, 3, axis=0), queries]), queries, 1, metric).ids[:, 0]
    assert (loaded.knn_query(queries, 1)[0][:, 0] == labels[best]).mean() >= 0.95
