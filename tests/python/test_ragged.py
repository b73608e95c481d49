"""Sets of vectors in every form, and the forms that are refused."""

import numpy as np
import pytest
from whimbrel._ragged import Ragged, as_ragged, as_ragged_or_one

LENGTHS = (3, 0, 1, 5)
DIM = 4


def make_sets(dtype=np.float32):
    rng = np.random.default_rng(7)
    return [rng.integers(-8, 9, (t, DIM)).astype(dtype) for t in LENGTHS]


def as_padded(sets, width=6, fill=99):
    padded = np.full((len(sets), width, DIM), fill, np.float32)
    mask = np.zeros((len(sets), width), np.bool_)
    for i, tokens in enumerate(sets):
        padded[i, : len(tokens)] = tokens
        mask[i, : len(tokens)] = True
    return padded, mask


class DlpackOnly:
    """An array that says nothing of itself but how to export it, and where it lives."""

    def __init__(self, array, device=1):
        self.array, self.device = array, device

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return (self.device, 0)


class Cuda:
    @property
    def __cuda_array_interface__(self):
        return {"shape": (2, DIM), "typestr": "<f4", "data": (0, False), "version": 3}


def forms():
    sets = make_sets()
    flat, offsets = np.concatenate(sets), np.cumsum([0, *LENGTHS])
    padded, mask = as_padded(sets)
    objects = np.empty(len(sets), object)
    objects[:] = sets
    return {
        "list of arrays": sets,
        "tuple of arrays": tuple(sets),
        "list of lists": [tokens.tolist() for tokens in sets],
        "object array": objects,
        "generator": (tokens for tokens in sets),
        "flat and offsets": (flat, offsets),
        "flat and int32 offsets": (flat, offsets.astype(np.int32)),
        "flat and a list": (flat, offsets.tolist()),
        "ragged": Ragged(flat, offsets.astype(np.int64)),
        "padded and mask": (padded, mask),
        "padded and integers": (padded, mask.astype(np.int64)),
        "dlpack": [DlpackOnly(tokens) for tokens in sets],
        "flat dlpack": (DlpackOnly(flat), offsets),
        "float16": [tokens.astype(np.float16) for tokens in sets],
        "float64": [tokens.astype(np.float64) for tokens in sets],
        "integers": [tokens.astype(np.int8) for tokens in sets],
        "column order": [np.asfortranarray(tokens) for tokens in sets],
        "strided": (np.repeat(flat, 2, axis=0)[::2], np.repeat(offsets, 2)[::2]),
    }


@pytest.mark.parametrize("form", forms())
def test_every_form_gives_the_same_arrays(form):
    tokens, offsets = as_ragged("docs", forms()[form])
    assert tokens.dtype == np.float32
    assert offsets.dtype == np.int64
    assert tokens.flags.c_contiguous
    assert offsets.flags.c_contiguous
    np.testing.assert_array_equal(tokens, np.concatenate(make_sets()))
    np.testing.assert_array_equal(offsets, np.cumsum([0, *LENGTHS]))


def test_flat_float32_is_not_copied():
    flat, offsets = np.ones((5, DIM), np.float32), np.array([0, 2, 5])
    ragged = as_ragged("docs", (flat, offsets))
    assert np.shares_memory(ragged.tokens, flat)
    assert np.shares_memory(ragged.offsets, offsets)


def test_masked_tokens_may_stand_anywhere():
    padded, mask = np.arange(24.0).reshape(2, 3, 4), [[True, False, True], [False, True, False]]
    tokens, offsets = as_ragged("docs", (padded, np.array(mask)))
    np.testing.assert_array_equal(tokens[:, 0], [0, 8, 16])
    np.testing.assert_array_equal(offsets, [0, 2, 3])


def test_an_array_of_rank_three_has_no_padding():
    tokens, offsets = as_ragged("docs", np.arange(24).reshape(2, 3, 4))
    np.testing.assert_array_equal(tokens, np.arange(24).reshape(6, 4))
    np.testing.assert_array_equal(offsets, [0, 3, 6])


def test_two_sets_in_a_tuple_are_two_sets():
    tokens, offsets = as_ragged("docs", (np.ones((2, DIM)), np.ones((3, DIM))))
    assert tokens.shape == (5, DIM)
    np.testing.assert_array_equal(offsets, [0, 2, 5])


def test_one_array_is_one_set_only_where_the_caller_says_so():
    one = np.ones((2, DIM))
    ragged, single = as_ragged_or_one("queries", one)
    assert single
    np.testing.assert_array_equal(ragged.offsets, [0, 2])
    _, single = as_ragged_or_one("queries", [one])
    assert not single
    with pytest.raises(
        ValueError, match=r"docs: expected sets: a list of .* got one array of shape \(2, 4\)"
    ):
        as_ragged("docs", one)


def test_no_sets_need_a_known_dimension():
    tokens, offsets = as_ragged("docs", [], DIM)
    assert tokens.shape == (0, DIM)
    np.testing.assert_array_equal(offsets, [0])
    with pytest.raises(ValueError, match="docs: expected at least one array of shape"):
        as_ragged("docs", [])


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ([np.ones((2, 4)), np.ones((2, 5))], r"docs\[1\]: expected shape \(t, 4\), got \(2, 5\)"),
        ([np.ones((2, 4)), np.ones(4)], r"docs\[1\]: expected shape \(t, 4\), got \(4,\)"),
        ([np.ones((2, 0))], r"docs\[0\]: expected shape \(t, d\), got \(2, 0\)"),
        ([[[1.0, 2.0], [3.0]]], r"docs\[0\]: expected a rectangular array"),
        ((np.ones((4, 5)), np.array([0, 4])), None),
        ((np.ones((2, 3, 4)), np.ones((2, 2), bool)), r"docs mask: expected shape \(2, 3\), got \(2, 2\)"),
        ((np.ones((2, 3, 4)), np.full((2, 3), 2)), "docs mask: expected 0 and 1"),
        (np.ones(4), r"docs: expected sets: .* got one array of shape \(4,\)"),
    ],
)
def test_wrong_shapes_are_value_errors(sets, message):
    if message is None:
        with pytest.raises(ValueError, match=r"docs: expected shape \(t, 4\), got \(4, 5\)"):
            as_ragged("docs", sets, DIM)
    else:
        with pytest.raises(ValueError, match=message):
            as_ragged("docs", sets)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (3, "docs: expected sets of vectors, got int"),
        ("text", "docs: expected sets of vectors, got str"),
        ([np.array([["a"]])], r"docs\[0\]: expected real numbers"),
        ([np.ones((1, 4), complex)], r"docs\[0\]: expected real numbers"),
        ((np.ones((2, 4)), np.array([0.0, 2.0])), "docs offsets: expected integers"),
        ((np.ones((2, 3, 4)), np.ones((2, 3))), "docs mask: expected booleans"),
        (Cuda(), "docs: expected an array in host memory"),
        ([Cuda()], r"docs\[0\]: expected an array in host memory"),
        ([DlpackOnly(np.ones((1, 4)), device=2)], r"docs\[0\]: expected an array in host memory"),
    ],
)
def test_wrong_kinds_are_type_errors(sets, message):
    with pytest.raises(TypeError, match=message):
        as_ragged("docs", sets)


def test_torch_tensors_are_read_in_place():
    torch = pytest.importorskip("torch")
    flat = torch.arange(20, dtype=torch.float32).reshape(5, 4)
    ragged = as_ragged("docs", (flat, torch.tensor([0, 2, 5])))
    assert np.shares_memory(ragged.tokens, flat.numpy())
    with pytest.raises(TypeError, match=r"docs\[0\]: expected an array that NumPy can read"):
        as_ragged("docs", [flat.requires_grad_()])
