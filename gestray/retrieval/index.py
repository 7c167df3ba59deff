"""The index: embeddings of a corpus's phrases, and what each of them is.

An index answers "which recorded gestures are nearest to this vector?" by cosine
similarity. Small galleries are searched exactly; large ones through a graph of
neighbours (HNSW, Malkov & Yashunin 2018), whose recall against exact search is
measured when the index is built and kept with it. On disk an index is three
files that know each other by hash, so that vectors of one build are never read
with the rows of another.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gestray.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 1
COLUMNS = (
    "phrase_id",
    "take_id",
    "speaker",
    "split",
    "start_s",
    "end_s",
    "text",
    "form_text",
    "intent",
)

EXACT_BELOW = 50_000
HNSW_NEIGHBOURS = 32
HNSW_EF_CONSTRUCTION = 200
HNSW_EF_SEARCH = 128

_VECTORS, _ROWS, _ABOUT = "index.faiss", "rows.parquet", "index.json"
_RECALL_SAMPLE = 500
_NEIGHBOURS_AND_SELF = 11
_NORM_TOLERANCE = 1e-3
_SCORE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Hit:
    """One recorded phrase that a query found; `score` is the cosine similarity.

    `start_s` and `end_s` are seconds in the take. `form_text` and `intent` are
    None where the phrase has no anchor.
    """

    rank: int
    score: float
    phrase_id: str
    take_id: str
    speaker: str
    start_s: float
    end_s: float
    text: str
    form_text: str | None
    intent: str | None


class GestureIndex:
    """Phrases of a corpus, searchable by embedding.

    Made by `build` or `load`, never directly.

    Attributes:
        rows: one row an embedding, with the columns of `COLUMNS`.
        kind: "exact", or "hnsw" for a graph of neighbours.
        recall_at_10: share of the true ten nearest that a search finds; 1 if exact.
    """

    def __init__(
        self, vectors: Any, rows: pa.Table, kind: Literal["exact", "hnsw"], recall_at_10: float
    ) -> None:
        self._vectors = vectors
        self.rows = rows
        self.kind = kind
        self.recall_at_10 = recall_at_10

    def __len__(self) -> int:
        return self._vectors.ntotal

    @property
    def dim(self) -> int:
        """Dimensions of an embedding."""
        return self._vectors.d

    @classmethod
    def build(
        cls, embeddings: ArrayLike, rows: pa.Table, exact_below: int = EXACT_BELOW
    ) -> GestureIndex:
        """Index N embeddings; equal inputs give equal indexes, on any number of threads.

        Args:
            embeddings: (N, D), each of length 1.
            rows: N rows in the same order, with the columns of `COLUMNS`;
                others are left out.
            exact_below: galleries of fewer phrases are searched exactly.

        Raises:
            UserError: the two do not fit each other, or a vector is not of length 1.
        """
        import faiss

        vectors_ND = _unit_vectors(embeddings, "embeddings")
        missing = [name for name in COLUMNS if name not in rows.column_names]
        if missing:
            raise UserError(
                f"index rows: found no column {', '.join(missing)} among "
                f"{', '.join(rows.column_names)}"
            )
        if not len(vectors_ND) or len(vectors_ND) != rows.num_rows:
            raise UserError(
                f"index: found {len(vectors_ND)} embeddings and {rows.num_rows} rows, "
                "expected one row an embedding and at least one of them"
            )
        rows = rows.select(list(COLUMNS)).combine_chunks()
        dim = vectors_ND.shape[1]
        if len(vectors_ND) < max(exact_below, _NEIGHBOURS_AND_SELF):
            flat = faiss.IndexFlatIP(dim)
            flat.add(vectors_ND)
            return cls(flat, rows, "exact", 1.0)

        graph = faiss.IndexHNSWFlat(dim, HNSW_NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = HNSW_EF_CONSTRUCTION
        graph.hnsw.efSearch = HNSW_EF_SEARCH
        graph.add(vectors_ND)
        return cls(graph, rows, "hnsw", _recall_at_10(graph, vectors_ND))

    def search(self, query: ArrayLike, k: int) -> list[list[Hit]]:
        """The `k` nearest phrases of each query, best first.

        Args:
            query: (Q, D), each of length 1.
            k: hits a query; an index of fewer phrases returns them all.

        Returns:
            Q lists of at most `k` hits.

        Raises:
            UserError: the query has other dimensions than the index, or is not of length 1.
        """
        query_QD = _unit_vectors(query, "query")
        if query_QD.shape[1] != self.dim:
            raise UserError(
                f"query: found {query_QD.shape[1]} dimensions, expected {self.dim} as in the "
                "index: embed the query with the encoder the index was built with"
            )
        if k < 1:
            raise UserError(f"k: found {k}, expected 1 or more")
        scores_QK, ids_QK = self._vectors.search(query_QD, min(k, len(self)))
        # A graph may reach fewer than k phrases, and marks the rest with -1.
        found = ids_QK >= 0
        records = iter(self.rows.drop_columns("split").take(ids_QK[found]).to_pylist())
        return [
            [
                Hit(rank=rank, score=float(score), **next(records))
                for rank, score in enumerate(scores[mask], start=1)
            ]
            for scores, mask in zip(scores_QK, found, strict=True)
        ]

    def save(self, folder: str | Path) -> None:
        """Write the index into a folder, which is made if need be."""
        import faiss
        import pyarrow.parquet as pq

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        faiss.write_index(self._vectors, str(folder / _VECTORS))
        pq.write_table(self.rows, folder / _ROWS, compression="zstd")
        about = {
            "schema_version": SCHEMA_VERSION,
            "kind": self.kind,
            "count": len(self),
            "dim": self.dim,
            "recall_at_10": self.recall_at_10,
            "sha256": {name: _sha256(folder / name) for name in (_VECTORS, _ROWS)},
        }
        (folder / _ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> GestureIndex:
        """Read an index that `save` wrote.

        Raises:
            UserError: a file is missing, or the files are not of one build.
        """
        import faiss
        import pyarrow.parquet as pq

        folder = Path(folder)
        for name in (_ABOUT, _VECTORS, _ROWS):
            if not (folder / name).is_file():
                raise UserError(f"index {folder}: found no {name}: build the index again")
        try:
            about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
            version, hashes = about["schema_version"], about["sha256"]
            expected = {"count": about["count"], "dim": about["dim"]}
            kind, recall_at_10 = about["kind"], about["recall_at_10"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"index {folder}: {_ABOUT} cannot be read ({error!r})") from error
        if version != SCHEMA_VERSION:
            raise UserError(
                f"index {folder}: found schema version {version}, expected {SCHEMA_VERSION}: "
                "build the index again with this version of gestray"
            )
        for name in (_VECTORS, _ROWS):
            if _sha256(folder / name) != hashes.get(name):
                raise UserError(
                    f"index {folder}: {name} is not the file {_ABOUT} was written for "
                    "(its sha256 differs): the folder is damaged or mixes two builds; "
                    "build the index again"
                )
        vectors = faiss.read_index(str(folder / _VECTORS))
        rows = pq.read_table(folder / _ROWS).combine_chunks()
        for piece, found in (
            (_VECTORS, {"count": vectors.ntotal, "dim": vectors.d}),
            (_ROWS, {"count": rows.num_rows, "dim": expected["dim"]}),
        ):
            if found != expected:
                raise UserError(
                    f"index {folder}: {piece} holds {found}, {_ABOUT} says {expected}: "
                    "build the index again"
                )
        return cls(vectors, rows, kind, recall_at_10)


def _unit_vectors(values: ArrayLike, name: str) -> NDArray[np.float32]:
    vectors = np.ascontiguousarray(values, np.float32)
    if vectors.ndim != 2:
        raise UserError(f"{name}: found shape {vectors.shape}, expected (rows, dimensions)")
    off = ~(np.abs(np.linalg.norm(vectors, axis=1) - 1.0) <= _NORM_TOLERANCE)
    if off.any():
        row = int(np.argmax(off))
        raise UserError(
            f"{name}, row {row}: found a vector of length {np.linalg.norm(vectors[row])}, "
            "expected 1: divide each embedding by its norm"
        )
    return vectors


def _recall_at_10(graph: Any, vectors_ND: NDArray[np.float32]) -> float:
    """Recall@10 of a graph against exact search, on an even sample of its own vectors.

    A vector finds itself for free and is left out. A hit as near as the tenth
    true neighbour counts, whichever of several equal vectors it is.
    """
    import faiss

    k = _NEIGHBOURS_AND_SELF
    sample = np.linspace(0, len(vectors_ND) - 1, min(_RECALL_SAMPLE, len(vectors_ND))).astype(int)
    queries = vectors_ND[sample]
    truth_SK, _ = faiss.knn(queries, vectors_ND, k, metric=faiss.METRIC_INNER_PRODUCT)
    found_SK, ids_SK = graph.search(queries, k)
    near_enough = (found_SK >= truth_SK[:, -1:] - _SCORE_TOLERANCE) & (ids_SK >= 0)
    others = near_enough & (ids_SK != sample[:, None])
    return float(np.minimum(others.sum(axis=1), k - 1).mean() / (k - 1))


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
