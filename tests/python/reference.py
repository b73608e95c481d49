"""Every algorithm in the plainest float64 numpy. This is the definition; the core has to agree with it."""

from __future__ import annotations

import numpy as np

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / golden ratio


def distances(data, queries, metric):
    """All distances, (q, n): smaller is nearer."""
    x, q = np.asarray(data, np.float64), np.asarray(queries, np.float64)
    if metric == "cosine":
        x, q = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-300) for v in (x, q))
    if metric == "l2":
        return np.array([((x - row) ** 2).sum(axis=1) for row in q]).reshape(len(q), len(x))
    return -(q @ x.T) + (metric == "cosine")


def knn(data, queries=None, k=10, metric="l2"):
    """The k nearest rows by (distance, row number); with `queries` None, without the row itself."""
    all_distances = distances(data, data if queries is None else queries, metric)
    if queries is None:
        np.fill_diagonal(all_distances, np.inf)
    order = np.argsort(all_distances, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(all_distances, order, axis=1)


def maxsim(queries, docs, normalize=False):
    """Scores of sets, (q, n): the sum over query tokens of the largest inner product; -inf without tokens."""
    scores = np.empty((len(queries), len(docs)))
    for i, query in enumerate(queries):
        for j, doc in enumerate(docs):
            if len(doc) == 0:
                scores[i, j] = -np.inf
                continue
            products = np.asarray(query, np.float64) @ np.asarray(doc, np.float64).T
            score = products.max(axis=1).sum()
            scores[i, j] = score / max(len(query), 1) if normalize else score
    return scores


def recall(found, true):
    """Mean share of the true ids that were found."""
    return np.mean([len(np.intersect1d(a, b)) for a, b in zip(found, true, strict=True)]) / true.shape[1]


def lid(r, estimator="mle"):
    """LID of one point from the true distances to its neighbors, r_1 <= ... <= r_k."""
    r = np.asarray(r, np.float64)
    r = r[(r > 0) & np.isfinite(r)]
    k = len(r)
    if k < 2:
        return 0.0
    if r[0] == r[-1]:
        return 1e4
    s = np.log(r[-1] / r).sum()
    value = {
        "mle": k / s,
        "levina_bickel": (k - 1) / s,
        "unbiased": (k - 2) / s,
        "mom": r.mean() / (r[-1] - r.mean()),
    }[estimator]
    return min(value, 1e4)


def mix64(x):
    """The finalizer of SplitMix64."""
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 & MASK
    x ^= x >> 27
    x = x * 0x94D049BB133111EB & MASK
    return x ^ x >> 31


def random_bits(seed, purpose, index):
    """64 random bits, a pure function of its arguments."""
    x = mix64(seed + GOLDEN & MASK)
    x = mix64(x ^ purpose * GOLDEN & MASK)
    return mix64(x + (index + 1) * GOLDEN & MASK)


def random_order(n, seed):
    """The permutation that sorts n random numbers of purpose 2."""
    return np.array(sorted(range(n), key=lambda i: random_bits(seed, 2, i)), dtype=np.int64)


def random_level(seed, row, M):
    """Level of a row: at least l with probability M**-l, decided in integers, from the bits of purpose 1."""
    bits, level = random_bits(seed, 1, row), 0
    threshold = (2**64 - 1) // M
    while bits < threshold:
        level += 1
        threshold //= M
    return level


def select_neighbors(candidates, between, max_kept, min_kept):
    """Of (distance, row) in order, those not nearer to a kept one than to the base (HNSW, Alg. 4).

    Then pruned ones, nearest first, up to `min_kept`.
    """
    kept, pruned = [], []
    for distance, row in candidates:
        if len(kept) == max_kept:
            break
        (pruned if any(between[row, other] < distance for _, other in kept) else kept).append((distance, row))
    return sorted(kept + pruned[: max(0, min_kept - len(kept))])


def link_level(between, ef, M, capacity, fill):
    """Lists of rows in order of insertion, from all distances between them: chosen and chosen by."""
    n = len(between)
    own = [
        select_neighbors(sorted((between[i, j], j) for j in range(i))[:ef], between, M, M if fill else 0)
        for i in range(n)
    ]
    lists = [list(links) for links in own]
    for i in range(n):
        for distance, j in own[i]:
            lists[j].append((distance, i))
    return [
        [row for _, row in sorted(links)]
        if len(links) <= capacity
        else [row for _, row in select_neighbors(sorted(links), between, capacity, capacity if fill else 0)]
        for links in lists
    ]


def cur_scores(anchor_scores, item_ids, c, mu=0.0, center=True):
    """Scores of all items by ridge regression on the anchor queries' scores, rank by pinv where mu is 0."""
    R = np.asarray(anchor_scores, np.float64)
    mean = R.mean(axis=0) * center
    X, c = R - mean, np.asarray(c, np.float64) - mean[item_ids]
    A = X[:, item_ids]  # (k_q, m)
    if mu == 0:
        return c @ np.linalg.pinv(A, rcond=1e-10) @ X + mean
    return np.linalg.solve(A @ A.T + mu * np.eye(len(A)), A @ c) @ X + mean


def l2_greedy(X, count):
    """Rows of X chosen by the drop of the squared error of reconstructing all rows, and their gains."""
    G = np.asarray(X, np.float64) @ np.asarray(X, np.float64).T
    chosen, gains = [], []
    for _ in range(count):
        diagonal = np.diag(G)
        tiny = 1e-10 * np.mean(X**2)
        gain = np.where(diagonal > tiny, (G**2).sum(axis=0) / np.maximum(diagonal, 1e-300), -1)
        gain[chosen] = -1
        j = int(np.argmax(gain > gain.max() * (1 - 1e-9)))
        chosen.append(j)
        gains.append(gain)
        G = G - np.outer(G[:, j], G[:, j]) / G[j, j]
    return chosen, gains
