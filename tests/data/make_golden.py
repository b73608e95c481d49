"""Write the golden file of the current format version: python tests/data/make_golden.py.

A released version keeps its file for ever; a new version adds one. test_format.py reads them all.
"""

from pathlib import Path

import numpy as np
import whimbrel as wb


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


if __name__ == "__main__":
    golden_index().save(Path(__file__).with_name("hnsw_v1.whb"))
    golden_codes().save(Path(__file__).with_name("codes_v1.whb"))
