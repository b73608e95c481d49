"""Write the golden files of the current format version: python tests/data/make_golden.py.

A released version keeps its files for ever; a new version adds some. test_format.py reads them all.
"""

from pathlib import Path

import numpy as np
import whimbrel as wb
from numpy.typing import NDArray


def golden_index() -> wb.HnswIndex:
    """Small integers, so that every value is the same on every machine."""
    rng = np.random.default_rng(0)
    data = rng.integers(0, 50, (200, 8)).astype(np.float32)
    return wb.HnswIndex.build(data, ids=np.arange(200) * 7 + 3, M=4, ef_construction=40, seed=5, ef_search=33)


def golden_codes() -> wb.HnswIndex:
    """Codes of a byte per coordinate: small integers again, whose mean and range are exact in any order."""
    rng = np.random.default_rng(1)
    data = rng.integers(-8, 8, (512, 4)).astype(np.float32)
    return wb.HnswIndex.build(np.concatenate([data, -data]), M=2, ef_construction=20, codec="sq8")


def golden_codes_of_4_bits() -> wb.HnswIndex:
    """Alone, without vectors."""
    data = np.tile(np.random.default_rng(4).integers(-8, 8, (1024, 5)), 13).astype(np.float32)
    return wb.HnswIndex.build(data, M=2, ef_construction=20, codec="sq4", rerank="none")


def golden_changed() -> wb.HnswIndex:
    """Numbered points, some of them removed in front of links to them, and a result of tuning."""
    data = np.random.default_rng(2).integers(0, 50, (120, 6)).astype(np.float32)
    index = wb.HnswIndex.build(data[:100], M=4, ef_construction=40, seed=5)
    index.remove(np.arange(0, 40, 2))
    index.add(data[100:])
    index.remove([1, 119])
    index.tune(data[:50] + 1, 0.9, 5)
    return index


def golden_bytes() -> wb.HnswIndex:
    """Vectors of int8, as they are."""
    data = np.random.default_rng(3).integers(-128, 128, (100, 6)).astype(np.int8)
    return wb.HnswIndex.build(data, M=4, ef_construction=40, seed=5, dtype="int8")


def golden_links_vectors() -> NDArray[np.float32]:
    """Of an index that is saved without them."""
    return np.random.default_rng(3).integers(0, 50, (100, 8)).astype(np.float32)


def golden_links() -> wb.HnswIndex:
    """Links of an index over vectors that are elsewhere."""
    return wb.HnswIndex.build(golden_links_vectors(), M=4, ef_construction=40, seed=5, copy=False)


class FirstToken:
    """The first token of a set, so that encodings are the same on every machine too."""

    fingerprint = "first token"

    def encode_documents(self, sets):
        """Zeros for a set without tokens."""
        tokens = np.concatenate([sets.tokens, np.zeros((1, sets.tokens.shape[1]), np.float32)])
        return np.where(np.diff(sets.offsets)[:, None] > 0, tokens[sets.offsets[:-1]], 0)

    encode_queries = encode_documents


def golden_sets() -> list[NDArray[np.float32]]:
    """Twenty documents, two of them without tokens."""
    rng = np.random.default_rng(1)
    return [rng.integers(-9, 10, (t % 7, 4)).astype(np.float32) for t in range(3, 23)]


def golden_multi_vector_index() -> wb.MultiVectorIndex:
    """With names, a removed document, and tokens in one byte."""
    index = wb.MultiVectorIndex(4, FirstToken(), store="int8", M=4, ef_construction=20, seed=5)
    index.add(golden_sets(), [f"doc {i}" for i in range(20)])
    index.remove("doc 2")
    return index


if __name__ == "__main__":
    golden_index().save(Path(__file__).with_name("hnsw_v1.whb"))
    golden_codes().save(Path(__file__).with_name("codes_v1.whb"))
    golden_codes_of_4_bits().save(Path(__file__).with_name("codes4_v1.whb"))
    golden_changed().save(Path(__file__).with_name("changed_v1.whb"))
    golden_bytes().save(Path(__file__).with_name("bytes_v1.whb"))
    golden_links().save(Path(__file__).with_name("links_v1.whb"), vectors=False)
    golden_multi_vector_index().save(Path(__file__).with_name("multi_vector_v1.whb"))
