"""A scorer of pairs for the demo: a black box that reads query and passage together, without any download.

It is no dot product of a query's and a passage's vector, whatever the vectors: each word of the query takes
its best match among the words of the passage (a maximum, as in late interaction), and what the passage has in
the query's order counts again (a longest common subsequence, which no sum over words can see).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._arrays import Float32, Int64
from .demo_embedding import TextEmbedding, tokens

__all__ = ["WordScorer"]

MAX_WORDS = 80  # of a passage, as models cut them too
MAX_QUERY_WORDS = 16
ORDER_BONUS = 0.5  # of a word's weight, for words in the query's order
LENGTH_PENALTY = 0.15  # per doubling of the passage's words


class WordScorer:
    """Scores pairs (query, passage) of texts: larger is better, like logits on no particular scale.

    Parameters
    ----------
    texts : sequence of str
        A corpus, for the weights of words and for which of them are alike.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        words = sorted({word for text in texts for word in tokens(text)})
        embedding = TextEmbedding(texts, 64)
        self._number = {word: i for i, word in enumerate(words)}
        self._vectors = embedding(words)
        self._weights = np.ones(len(words), np.float32)
        for text in texts:
            self._weights[list({self._number[word] for word in tokens(text)})] += 1
        self._weights = np.log(len(texts) / self._weights).clip(0.1)
        self._known: dict[str, Int64] = {}

    def predict(self, pairs: Sequence[tuple[str, str]]) -> Float32:
        """Return the scores of pairs; runs of pairs of one query are the fastest."""
        scores = np.empty(len(pairs), np.float32)
        begin = 0
        while begin < len(pairs):
            end = begin
            while end < len(pairs) and pairs[end][0] == pairs[begin][0]:
                end += 1
            scores[begin:end] = self._score(pairs[begin][0], [text for _, text in pairs[begin:end]])
            begin = end
        return scores

    def _words(self, text: str) -> Int64:
        """Numbers of the words of a text, -1 for none at all; kept, since each text comes many times."""
        if text not in self._known:
            words = [self._number[word] for word in tokens(text) if word in self._number]
            self._known[text] = np.array(words[:MAX_WORDS] or [-1])
        return self._known[text]

    def _score(self, query: str, texts: Sequence[str]) -> Float32:
        passages = [self._words(text) for text in texts]
        lengths = np.array([len(words) for words in passages])
        words = np.concatenate(passages)
        asked = self._words(query)[:MAX_QUERY_WORDS]
        if asked[0] < 0:
            return np.zeros(len(texts), np.float32)
        alike = np.maximum(self._vectors[asked] @ self._vectors.T, 0) ** 2
        alike[np.arange(len(asked)), asked] = 1
        best = np.maximum.reduceat(alike[:, words], np.cumsum(lengths) - lengths, axis=1)
        best[:, lengths == 1] *= words[np.cumsum(lengths)[lengths == 1] - 1] >= 0
        weights = self._weights[asked]
        ordered = self._in_order(asked, weights, words, lengths)
        return np.asarray(
            weights @ best + ORDER_BONUS * ordered - LENGTH_PENALTY * np.log2(lengths), np.float32
        )

    @staticmethod
    def _in_order(asked: Int64, weights: Float32, words: Int64, lengths: Int64) -> Float32:
        """Weight of the heaviest common subsequence of the query and each passage, all passages at once."""
        common = np.isin(words, asked)
        owners, words = np.repeat(np.arange(len(lengths)), lengths)[common], words[common]
        counts = np.bincount(owners, minlength=len(lengths))
        begins = np.cumsum(counts) - counts
        heaviest = np.zeros((len(asked) + 1, len(lengths)), np.float32)
        for position in range(int(counts.max())):
            here = np.flatnonzero(counts > position)
            word = words[begins[here] + position]
            rows = heaviest[:, here]
            new = rows.copy()
            for i, weight in enumerate(weights):
                taken = np.where(word == asked[i], rows[i] + weight, 0)
                new[i + 1] = np.maximum(np.maximum(rows[i + 1], new[i]), taken)
            heaviest[:, here] = new
        return np.asarray(heaviest[-1], np.float32)
