"""Files of CurIndex: whole ones come back bit for bit, and every other one is a FormatError."""

import pickle
import struct

import numpy as np
import pytest
import whimbrel as wb

RNG = np.random.default_rng(0)
SCORES = RNG.standard_normal((9, 2)) @ RNG.standard_normal((2, 70)) + 0.1 * RNG.standard_normal((9, 70))
KINDS = {
    "plain": {},
    "f16": {"storage": "f16", "intercept": True},
    "int8": {"storage": "int8"},
    "rank": {"rank": 4, "center": False},
    "first": {"first_stage": SCORES + 1},
    "lent": {"first_stage": SCORES + 0.5 * RNG.standard_normal(SCORES.shape)},  # with a sample of its own
}


def make(kind):
    cur = wb.CurIndex.fit(SCORES, **KINDS[kind])
    assert (b"FSAM" in cur.dumps()[:512]) == (kind == "lent")
    cur.remove([3, 5])
    return cur


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_loaded_is_what_was_saved(kind, tmp_path):
    cur = make(kind)
    path = tmp_path / "index.whb"
    cur.save(path)
    with (tmp_path / "file.whb").open("wb") as file:
        cur.save(file)
    saved = cur.dumps()
    assert path.read_bytes() == (tmp_path / "file.whb").read_bytes() == saved
    with path.open("rb") as file:
        copies = [wb.CurIndex.load(path), wb.CurIndex.load(file), wb.CurIndex.loads(saved)]
    copies.append(pickle.loads(pickle.dumps(cur)))
    first = SCORES[0] * 2 if "first_stage" in KINDS[kind] else None
    items = np.arange(0, 70, 3)
    expected = cur.approximate(items, SCORES[0, items], first_stage=first)
    for copy in copies:
        assert copy.dumps() == saved
        np.testing.assert_array_equal(copy.approximate(items, SCORES[0, items], first_stage=first), expected)
        assert (repr(copy), copy.n_removed, copy.center, copy.intercept, copy.rank, copy.has_first_stage) == (
            repr(cur),
            2,
            cur.center,
            cur.intercept,
            cur.rank,
            cur.has_first_stage,
        )
        copy.add_items(SCORES[:, :2], first_stage=SCORES[:, :2] if "first_stage" in KINDS[kind] else None)
        assert len(copy) == 72


@pytest.mark.parametrize("kind", KINDS)
def test_any_truncation_and_any_flipped_bit_are_found(kind):
    saved = make(kind).dumps()
    for size in range(0, len(saved), 7):
        with pytest.raises(wb.FormatError):
            wb.CurIndex.loads(saved[:size])
    with pytest.raises(wb.FormatError):
        wb.CurIndex.loads(saved + b"\0")
    for position in range(0, len(saved), 3):
        damaged = bytearray(saved)
        damaged[position] ^= 1 << position % 8
        with pytest.raises(wb.FormatError):
            wb.CurIndex.loads(damaged)


@pytest.mark.parametrize("kind", KINDS)
def test_sections_that_make_no_sense_are_found_behind_a_right_checksum(kind, forge):
    saved = make(kind).dumps()
    # n_queries, size, rank, fitted_size, slope, scale, gain, ridge, storage, center, intercept, first_stage
    for offset, code, values in (
        (0, "<Q", (0, 8, 33, 2**20 + 1, 2**63)),
        (8, "<Q", (0, 69, 71, 2**31, 2**63)),
        (16, "<Q", (3, 10, 2**63)),
        (24, "<Q", (71, 2**63)),
        (32, "<d", (np.nan, np.inf)),
        (40, "<d", (np.nan, -1.0)),
        (48, "<d", (np.nan, -1.0, 0.0 if kind == "lent" else 1.0)),
        (56, "<d", (np.inf, -1.0)),
        (64, "<I", (3, 2**31)),
        (68, "<I", (2,)),
        (72, "<I", (2,)),
        (76, "<I", (2, 0 if kind in ("first", "lent") else 1)),
    ):
        for value in values:
            with pytest.raises(wb.FormatError):
                wb.CurIndex.loads(forge(saved, b"PARM", offset, struct.pack(code, value)))
    codes = {"f16": ("<e", np.nan, 1.0), "int8": ("<b", -128, 1)}
    code, bad, good = codes.get(kind, ("<f", np.nan, 1.0))
    nan, one = struct.pack(code, bad), struct.pack(code, good)
    padding = (4 if kind == "rank" else 9) * len(one)
    for tag, offset, data in (
        (b"MEAN", 8, struct.pack("<f", np.inf)),
        (b"REMV", 1, b"\2"),
        (b"FEAT", 0, nan),
        (b"FEAT", padding, one),
        *([(b"FMEA", 4, struct.pack("<f", np.nan))] if kind in ("first", "lent") else []),
        *([(b"FSAM", 4, struct.pack("<f", np.nan))] if kind == "lent" else []),
        *([(b"SCAL", 4, struct.pack("<f", np.inf))] if kind == "int8" else []),
        *([(b"PROJ", 8, struct.pack("<d", np.nan))] if kind == "rank" else []),
    ):
        with pytest.raises(wb.FormatError):
            wb.CurIndex.loads(forge(saved, tag, offset, data))


def test_a_file_of_another_kind_says_so():
    other = wb.HnswIndex.build(np.random.default_rng(0).random((20, 4))).dumps()
    with pytest.raises(wb.FormatError, match="kind CURI, got HNSW"):
        wb.CurIndex.loads(other)
    with pytest.raises(wb.FormatError, match="kind HNSW, got CURI"):
        wb.HnswIndex.loads(make("plain").dumps())
