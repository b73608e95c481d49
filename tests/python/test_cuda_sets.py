"""Sets of token vectors on CUDA devices: MaxSim with the bits of the CPU, encodings with its cells."""

import numpy as np
import pytest
import whimbrel as wb
from whimbrel import _device_sets

LENGTHS = [5, 0, 40, 1, 17, 0, 130]


def make_sets(lengths, dim=64, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    return rng.standard_normal((offsets[-1], dim)).astype(dtype), offsets


def send(library, sets):
    return tuple(library.send(part) for part in sets)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("normalize", [False, True])
def test_maxsim_of_a_device_has_the_bits_of_the_cpu(device_library, dtype, normalize):
    queries, docs = make_sets([32, 0, 7], seed=1), make_sets(LENGTHS, dtype=dtype)
    expected = wb.maxsim_matrix(queries, docs, normalize=normalize)
    found = wb.maxsim_matrix(send(device_library, queries), send(device_library, docs), normalize=normalize)
    np.testing.assert_array_equal(device_library.fetch(found), expected)
    one = wb.maxsim(device_library.send(queries[0][:32]), send(device_library, docs), normalize=normalize)
    np.testing.assert_array_equal(device_library.fetch(one), expected[0])


def test_candidates_on_a_device_have_the_bits_of_the_cpu(device_library):
    queries, docs = make_sets([32, 0, 7], seed=1), make_sets(LENGTHS)
    candidates = np.array([[0, 6, -1], [2, 1, 0], [5, 4, 6]])
    expected = wb.maxsim_pairs(queries, docs, candidates=candidates)
    found = wb.maxsim_pairs(
        send(device_library, queries), send(device_library, docs), candidates=device_library.send(candidates)
    )
    np.testing.assert_array_equal(device_library.fetch(found), expected)


@pytest.mark.parametrize(
    "options", [{}, {"d_final": 100}, {"d_proj": None, "r_reps": 3}, {"fill_empty": False}]
)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_encodings_of_a_device_agree_with_the_cpu(device_library, options, dtype):
    sets = make_sets(LENGTHS)
    encoder = wb.FdeEncoder(64, **{"k_sim": 4, "r_reps": 10, "d_proj": 8, **options})
    for encode in (encoder.encode_documents, encoder.encode_queries):
        found = device_library.fetch(encode(send(device_library, sets), dtype=dtype))
        assert found.dtype == dtype
        tolerance = 1e-5 if dtype == "float32" else 2e-3
        np.testing.assert_allclose(found, encode(sets), rtol=tolerance, atol=10 * tolerance)


def test_wrong_sets_on_a_device_are_named(device_library):
    docs = send(device_library, make_sets(LENGTHS))
    query, tokens = docs[0][:3], docs[0]
    offsets = make_sets(LENGTHS)[1]
    encoder = wb.FdeEncoder(64, k_sim=2, r_reps=2, d_proj=4)
    falling, short, late = offsets.copy(), offsets[:-1], offsets + 1
    falling[2] = 0
    for kind, text, call in (
        (TypeError, "docs: expected an array on cuda:0", lambda: wb.maxsim(query, make_sets(LENGTHS))),
        (TypeError, "docs: expected .tokens, offsets. on a device", lambda: wb.maxsim(query, [tokens])),
        (ValueError, r"docs: expected shape \(n, 64\)", lambda: wb.maxsim(query, (tokens[:, :3], docs[1]))),
        (ValueError, "never fall", lambda: wb.maxsim(query, (tokens, device_library.send(falling)))),
        (ValueError, "end at", lambda: wb.maxsim(query, (tokens, device_library.send(short)))),
        (ValueError, "start at 0", lambda: wb.maxsim(query, (tokens, device_library.send(late)))),
        (ValueError, "integer offsets", lambda: wb.maxsim(query, (tokens, tokens[0]))),
        (TypeError, "candidates", lambda: wb.maxsim_pairs(docs, docs)),
        (
            IndexError,
            "candidates: expected ids",
            lambda: wb.maxsim_pairs(
                docs, docs, candidates=device_library.send(np.full((len(LENGTHS), 1), 99, np.int64))
            ),
        ),
        (ValueError, "dtype", lambda: encoder.encode_documents(docs, dtype="int8")),
    ):
        with pytest.raises(kind, match=text):
            call()


def test_sets_in_host_memory_are_not_taken_for_others():
    tokens, offsets = make_sets([2, 3])
    assert not _device_sets.are_on_device((tokens, offsets), [tokens], None)
