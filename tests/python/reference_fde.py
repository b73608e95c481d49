"""The plainest encoder of vector sets, in float64, one token at a time; random objects from their streams."""

from __future__ import annotations

import numpy as np
from reference import random_bits

HYPERPLANE, SIGN_PROJECTION, COUNT_SKETCH, FINAL_SKETCH = 16, 17, 18, 19


def normals(seed, count):
    """Polar method on pairs of numbers; attempt a at pair p has the bits number 256 p + a."""
    out = []
    for pair in range((count + 1) // 2):
        attempt = 0
        while True:
            bits = random_bits(seed, HYPERPLANE, 256 * pair + attempt)
            x, y = ((half + 0.5) * 2.0**-31 - 1 for half in (bits >> 32, bits & 0xFFFFFFFF))
            squared = x * x + y * y
            if squared < 1:
                break
            attempt += 1
        out += [v * np.sqrt(-2 * np.log(squared) / squared) for v in (x, y)]
    return np.array(out[:count], np.float32).astype(np.float64)


class Words:
    """The stream of the reference implementation: mt19937 under the distributions of libstdc++."""

    def __init__(self, seed):
        # RandomState(seed) starts the generator as the C++ standard does.
        self.state, self.saved = np.random.RandomState(seed), None

    def word(self):
        return int(self.state.randint(0, 2**32, dtype=np.uint32))

    def below(self, n):
        while True:
            product = self.word() * n
            if product % 2**32 >= (2**32 - n) % n:
                return product >> 32

    def sign(self):
        low, high = self.word(), self.word()
        return 1.0 if (float(low) + float(high) * 2.0**32) / 2.0**64 < 0.5 else -1.0

    def normal(self):
        if self.saved is not None:
            value, self.saved = self.saved, None
            return value
        while True:
            x, y = (
                np.float32(2) * min(np.float32(self.word()) * np.float32(2.0**-32), np.float32(1 - 2.0**-24))
                - np.float32(1)
                for _ in range(2)
            )
            squared = x * x + y * y
            if 0 < squared <= 1:
                break
        scale = np.sqrt(np.float32(-2) * np.float32(np.log(np.float64(squared))) / squared)
        self.saved = x * scale
        return y * scale


def gray_number(bits):
    """Number of a cell from its signs, first sign first."""
    number = 0
    for bit in bits:
        number = 2 * number + (bit ^ (number & 1))
    return number


class Encoder:
    """Takes the arguments of `whimbrel.FdeEncoder`."""

    def __init__(
        self,
        dim,
        k_sim=5,
        r_reps=20,
        d_proj=16,
        d_final=None,
        fill_empty=True,
        seed=0,
        mode="native",
        projection=None,
        center=None,
    ):
        self.k_sim, self.r_reps, self.fill_empty, self.mode = k_sim, r_reps, fill_empty, mode
        self.center = np.zeros(dim) if center is None else np.asarray(center)
        width = d_proj or dim
        google = mode == "google"
        self.planes, self.matrices = [], []
        flat = None if google else normals(seed, r_reps * k_sim * dim)
        for r in range(r_reps):
            if google:
                words = Words((seed + r) % 2**32)
                self.planes.append(np.array([words.normal() for _ in range(k_sim * dim)]).reshape(k_sim, dim))
            else:
                self.planes.append(flat[r * k_sim * dim : (r + 1) * k_sim * dim].reshape(k_sim, dim))
            if d_proj is None:
                matrix = np.eye(dim)
            elif projection == "sign":
                matrix = np.array(
                    [
                        -1.0 if random_bits(seed, SIGN_PROJECTION, r * width * dim + i) & 1 else 1.0
                        for i in range(width * dim)
                    ]
                ).reshape(width, dim) / np.sqrt(width)
            else:
                matrix = self.sketch(seed, r, dim, width, COUNT_SKETCH, r * dim)
            self.matrices.append(matrix)
        length = r_reps * 2**k_sim * width
        self.final = None if d_final is None else self.sketch(seed, 0, length, d_final, FINAL_SKETCH, 0)

    def sketch(self, seed, repetition, length, width, purpose, first):
        matrix = np.zeros((width, length))
        words = Words((seed + repetition) % 2**32) if self.mode == "google" else None
        for i in range(length):
            if words is not None:
                bucket = words.below(width)
                matrix[bucket, i] = words.sign()
            else:
                bits = random_bits(seed, purpose, first + i)
                matrix[(bits >> 1) % width, i] = -1.0 if bits & 1 else 1.0
        return matrix

    def signs(self, tokens, repetition):
        return ((np.asarray(tokens, np.float64) - self.center) @ self.planes[repetition].T > 0).astype(int)

    def number(self, bits):
        return gray_number(bits) if self.mode == "google" else int("0" + "".join(map(str, bits)), 2)

    def encode(self, tokens, document):
        tokens = np.asarray(tokens, np.float64)
        parts = []
        for r in range(self.r_reps):
            signs, projected = self.signs(tokens, r), tokens @ self.matrices[r].T
            block = np.zeros((2**self.k_sim, projected.shape[1]))
            for pattern in np.ndindex(*(2,) * self.k_sim):
                distance = np.abs(signs - np.array(pattern, int)).sum(axis=1)
                mine = projected[distance == 0]
                if len(mine) > 0:
                    value = mine.mean(axis=0) if document else mine.sum(axis=0)
                elif document and self.fill_empty and len(tokens) > 0:
                    value = projected[np.argmin(distance)]  # the first of several
                    if self.fill_empty == "mean":
                        value = projected[distance == distance.min()].mean(axis=0)
                else:
                    continue
                block[self.number(pattern)] = value
            parts.append(block.ravel())
        whole = np.concatenate(parts)
        return whole if self.final is None else self.final @ whole


def chamfer(query, document):
    """Sum over the query's tokens of the best inner product."""
    return (np.asarray(query, np.float64) @ np.asarray(document, np.float64).T).max(axis=1).sum()
