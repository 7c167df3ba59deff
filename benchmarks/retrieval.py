"""How fast gestures are found: one query, an evaluation, and an index of a million.

The comparison is of one query over 10,000 clips: `GestureIndex.search` against a loop over
the clips in Python, as RAG-Gesture retrieves (a list of entries, each compared and ranked in
turn; no code of it is used). Beside it stand, under `also`, the evaluation of one encoder on
10,000 test clips, every protocol and interval included, and an index of 1,000,000 × 256: how
long it is built, its recall@10 and the time of a query on one core, for vectors with the
structure of meanings and for vectors without any.

    python benchmarks/retrieval.py --json --save
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np
from side_by_side import Comparison, alternate, main

CLIPS, DIM, HITS = 10_000, 256, 10
MILLION = 1_000_000
QUERIES = 500


def unit(values: np.ndarray) -> np.ndarray:
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def clustered(count: int, seed: int, meanings: int = 4000, spread: float = 0.5) -> np.ndarray:
    """Unit vectors as encoders make them: few meanings, many recordings of each.

    A space of 24 dimensions holds the meanings, of which some are frequent (Zipf 0.7); recordings
    scatter about theirs in it, and all directions carry noise.
    """
    shared = np.random.default_rng(7)
    into = shared.normal(size=(24, DIM)).astype(np.float32)
    centres = shared.normal(size=(meanings, 24)).astype(np.float32)
    weights = np.arange(1, meanings + 1) ** -0.7
    rng = np.random.default_rng(seed)
    found = np.empty((count, DIM), np.float32)
    for first in range(0, count, 50_000):
        size = min(50_000, count - first)
        chosen = centres[rng.choice(meanings, size, p=weights / weights.sum())]
        latent = chosen + spread * rng.standard_normal((size, 24), np.float32)
        found[first : first + size] = unit(
            latent @ into + rng.standard_normal((size, DIM), np.float32)
        )
    return found


def scattered(count: int, seed: int) -> np.ndarray:
    """Unit vectors without any structure, the hardest there are."""
    return unit(np.random.default_rng(seed).standard_normal((count, DIM), np.float32))


def facts(count: int):
    import pyarrow as pa

    numbers = range(count)
    return pa.table(
        {
            "phrase_id": [f"t{n // 10}:{n:06}" for n in numbers],
            "take_id": [f"t{n // 10}" for n in numbers],
            "speaker": [f"s{n % 25}" for n in numbers],
            "split": ["test"] * count,
            "start_s": [3.0 * (n % 10) for n in numbers],
            "end_s": [3.0 * (n % 10) + 2 + 0.1 * (n % 7) for n in numbers],
            "text": [f"words number {n}" for n in numbers],
        }
    )


def scan(entries: list[dict], query: np.ndarray) -> list[tuple[float, dict]]:
    """A linear scan: each entry compared, then all of them sorted."""
    scored = []
    for entry in entries:
        feature = entry["feature"]
        similarity = float(np.dot(query, feature)) / (
            float(np.linalg.norm(query)) * float(np.linalg.norm(feature))
        )
        scored.append((similarity, entry))
    scored.sort(key=lambda pair: pair[0], reverse=True)
    return scored[:HITS]


def one_query(runs: int) -> dict[str, float]:
    """Queries a second over 10,000 clips, both ways, and ours in milliseconds."""
    from gestray.retrieval.index import GestureIndex

    vectors, queries = clustered(CLIPS, 1), clustered(200, 2)
    rows = facts(CLIPS)
    index = GestureIndex.build(vectors, rows)
    entries = [
        {**row, "feature": vector} for row, vector in zip(rows.to_pylist(), vectors, strict=True)
    ]
    (hits,) = index.search(queries[:1], HITS)
    expected = scan(entries, queries[0])
    assert [hit.phrase_id for hit in hits] == [entry["phrase_id"] for _, entry in expected]

    def ours() -> float:
        started = time.perf_counter()
        for query in queries:
            index.search(query[None], HITS)
        return len(queries) / (time.perf_counter() - started)

    def other() -> float:
        started = time.perf_counter()
        for query in queries[:5]:
            scan(entries, query)
        return 5 / (time.perf_counter() - started)

    return alternate({"ours": ours, "other": other}, runs)


def evaluation() -> float:
    """Seconds to measure an encoder on 10,000 clips, every protocol, with all intervals."""
    import pyarrow as pa

    from jobs.meanings import Meanings
    from jobs.measure import PhraseSet, Runs, measure

    rng = np.random.default_rng(0)
    motion, texts = clustered(CLIPS, 3), clustered(CLIPS, 4)
    carries = rng.random((CLIPS, 40)) < 0.02
    rows = facts(CLIPS)

    def column(values: np.ndarray) -> pa.Array:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), DIM)

    rows = rows.append_column("motion_embedding", column(motion))
    noisy = unit(motion + 0.05 * rng.normal(size=motion.shape))
    rows = rows.append_column("text_embedding", column(noisy))
    started = time.perf_counter()
    terms = [f"meaning {n}" for n in range(40)]
    phrases = PhraseSet(rows, Meanings("gold", terms, carries, [[]] * CLIPS), texts)
    runs = Runs("ours", [measure(phrases, rows, "text_embedding", True, None)], phrases)
    runs.figures()
    runs.intervals()
    return time.perf_counter() - started


def million(vectors: np.ndarray, queries: np.ndarray) -> dict[str, float]:
    """An index of very many: build, recall of new queries, and a query on one core."""
    import faiss

    from gestray.retrieval.vectors import VectorIndex

    started = time.perf_counter()
    index = VectorIndex(vectors, "ivf")
    build_s = time.perf_counter() - started
    truth, _ = faiss.knn(queries, vectors, HITS, metric=faiss.METRIC_INNER_PRODUCT)
    faiss.omp_set_num_threads(1)
    for query in queries[:20]:
        index.search(query[None], HITS)
    seconds, found = [], []
    for query in queries:
        started = time.perf_counter()
        scores, _ = index.search(query[None], HITS)
        seconds.append(time.perf_counter() - started)
        found.append(scores[0])
    exact = faiss.IndexFlatIP(DIM)
    exact.add(vectors)
    started = time.perf_counter()
    for query in queries[:10]:
        exact.search(query[None], HITS)
    exact_ms = 100 * (time.perf_counter() - started)
    return {
        "recall_at_10": float((np.array(found) >= truth[:, -1:] - 1e-6).mean()),
        "ms_median": 1000 * float(np.median(seconds)),
        "ms_p95": 1000 * float(np.quantile(seconds, 0.95)),
        "exact_ms": exact_ms,
        "build_s": build_s,
        "cells_looked_into": index.effort.cells,
        "compared_exactly": index.effort.refined * HITS,
    }


def compare(runs: int) -> Comparison:
    found = one_query(runs)
    also: dict[str, object] = {
        "ours_ms": 1000 / found["ours"],
        "scan_ms": 1000 / found["other"],
        "evaluation_of_10000_s": evaluation(),
    }
    for name, make in (("clustered", clustered), ("unstructured", scattered)):
        print(f"a million, {name}", file=sys.stderr)
        also[f"million_{name}"] = million(make(MILLION, 5), make(QUERIES, 6))
    also["peak_memory_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return Comparison(found["ours"], found["other"], "queries/s over 10,000 clips", runs, also)


if __name__ == "__main__":
    main("retrieval", __doc__ or "", compare)
