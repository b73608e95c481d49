"""Every kernel once on small shapes, for compute-sanitizer; results are compared with the CPU's."""

from __future__ import annotations

import numpy as np
import whimbrel as wb

SHAPES = ((700, 33, 40, 10), (300, 128, 5, 200), (2000, 64, 1, 10))


def main() -> None:
    """Raise if a result differs."""
    for n, d, q, k in SHAPES:
        rng = np.random.default_rng(n)
        for metric in ("l2", "ip", "cosine"):
            for dtype in (np.float32, np.float16, np.int8):
                data, queries = ((10 * rng.standard_normal((m, d))).astype(dtype) for m in (n, q))
                for points in (queries, None):
                    found = wb.knn(data, points, k, metric, device="cuda")
                    expected = wb.knn(data, points, k, metric)
                    np.testing.assert_array_equal(found.ids, expected.ids)
                    np.testing.assert_array_equal(found.distances, expected.distances)
            distances = wb.pairwise_distances(data, queries, metric, device="cuda")
            np.testing.assert_array_equal(distances, wb.pairwise_distances(data, queries, metric))
    cur = wb.CurIndex.fit(np.random.default_rng(0).standard_normal((20, 300)))
    np.testing.assert_array_equal(cur.select_anchors(10, device="cuda"), cur.select_anchors(10))


if __name__ == "__main__":
    main()
