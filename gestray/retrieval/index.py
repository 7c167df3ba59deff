"""The index: embeddings of a corpus's phrases, and what each of them is.

An index answers "which recorded gestures are nearest to this vector?" by cosine similarity,
among all of them or those that a filter lets through, alone or together with a search by
words. Phrases are added and deleted as a corpus changes: a deleted one is not found any more,
and its vector is dropped when so many are gone that it pays. How often an approximate index
finds what an exact search would is measured when it is written, and kept with it. On disk an
index is a few files that know each other by hash, so that vectors of one build are never read
with the rows of another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gestray.errors import UserError
from gestray.retrieval.filters import Filter
from gestray.retrieval.vectors import Effort, Kind, VectorIndex, kind_for
from gestray.retrieval.words import WordIndex, best, fused

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 3
FACTS = ("phrase_id", "take_id", "speaker", "split", "start_s", "end_s", "text")
ANCHOR = ("form_text", "intent", "intent_text", "handedness")
COLUMNS = (*FACTS, *ANCHOR)

COMPACT_ABOVE = 0.25
"""The share of deleted phrases from which on their vectors are dropped."""

_VECTORS, _ROWS, _ABOUT = "index.faiss", "rows.parquet", "index.json"
_DELETED = "deleted"
_FUSED_DEPTH = 100
_NORM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Hit:
    """One recorded phrase that a query found; `score` is the cosine similarity.

    `start_s` and `end_s` are seconds in the take. What anchors say, `form_text`, `intent`,
    `intent_text` and `handedness`, is None where the phrase has no anchor.
    """

    rank: int
    score: float
    phrase_id: str
    take_id: str
    speaker: str | None
    start_s: float
    end_s: float
    text: str
    form_text: str | None
    intent: str | None
    intent_text: str | None
    handedness: str | None


class GestureIndex:
    """Phrases of a corpus, searchable by embedding.

    Made by `build` or `load`, never directly.

    Attributes:
        rows: one row a phrase, with the columns of `COLUMNS`, deleted ones included.
        vectors: their embeddings, in the same order.
        kind: how they are searched, see `gestray.retrieval.vectors`.
    """

    def __init__(
        self,
        vectors: VectorIndex,
        rows: pa.Table,
        deleted: NDArray[np.bool_],
        chosen: Kind | None,
        recall_at_10: float | None = None,
    ) -> None:
        self.vectors = vectors
        self.rows = rows
        self._deleted = deleted
        self._chosen = chosen
        self._recall = recall_at_10

    def __len__(self) -> int:
        """Phrases that can be found."""
        return len(self.vectors) - int(self._deleted.sum())

    @property
    def dim(self) -> int:
        """Dimensions of an embedding."""
        return self.vectors.dim

    @property
    def kind(self) -> Kind:
        return self.vectors.kind

    @property
    def recall_at_10(self) -> float:
        """Share of the true ten nearest that a search finds; measured when first asked for."""
        if self._recall is None:
            self._recall = self.vectors.recall_at_10()
        return self._recall

    @classmethod
    def build(cls, embeddings: ArrayLike, rows: pa.Table, kind: Kind | None = None) -> GestureIndex:
        """Index N embeddings.

        Equal inputs give equal indexes, an exact or graph index on any number of threads.

        Args:
            embeddings: (N, D), each of length 1.
            rows: N rows in the same order, with the columns of `FACTS` and, where there are
                anchors, those of `ANCHOR`; others are left out.
            kind: None takes what fits their number.

        Raises:
            UserError: the two do not fit each other, or a vector is not of length 1.
        """
        vectors_ND = _unit_vectors(embeddings, "embeddings")
        rows = _known_rows(rows, len(vectors_ND))
        deleted = np.zeros(len(vectors_ND), bool)
        return cls(VectorIndex(vectors_ND, kind), rows, deleted, kind)

    def add(self, embeddings: ArrayLike, rows: pa.Table) -> None:
        """Add phrases, as `build` takes them.

        An index that outgrows its kind is built anew in the one that fits, unless the kind
        was chosen.

        Raises:
            UserError: as `build`; or a phrase is in the index already.
        """
        import pyarrow as pa

        vectors_ND = _unit_vectors(embeddings, "embeddings")
        if vectors_ND.shape[1] != self.dim:
            raise UserError(
                f"embeddings: found {vectors_ND.shape[1]} dimensions, expected {self.dim} as in "
                "the index: embed with the encoder it was built with"
            )
        rows = _known_rows(rows, len(vectors_ND))
        live = self.rows["phrase_id"].filter(pa.array(~self._deleted)).to_pylist()
        if twice := set(live) & set(rows["phrase_id"].to_pylist()):
            raise UserError(
                f"index: {len(twice)} phrases are in it already, such as {min(twice)}: delete "
                "them first"
            )
        self.vectors.add(vectors_ND)
        self.rows = pa.concat_tables([self.rows, rows]).combine_chunks()
        self._deleted = np.concatenate((self._deleted, np.zeros(len(rows), bool)))
        if self._chosen is None and self.kind != kind_for(len(self)):
            self.compact()
        self._changed()

    def delete(self, phrase_ids: Collection[str]) -> int:
        """Take phrases out; returns how many there were. Unknown ones are passed over."""
        import pyarrow as pa
        import pyarrow.compute as pc

        asked = pa.array(list(phrase_ids), pa.string())
        found = pc.is_in(self.rows["phrase_id"], value_set=asked).to_numpy() & ~self._deleted
        if found.sum() == len(self):
            raise UserError("index: nothing would be left in it; build another instead")
        self._deleted |= found
        if self._deleted.mean() > COMPACT_ABOVE:
            self.compact()
        if found.any():
            self._changed()
        return int(found.sum())

    def compact(self) -> None:
        """Drop what was deleted, by building the index anew from what is left."""
        import pyarrow as pa

        kept = ~self._deleted
        self.vectors = VectorIndex(self.vectors.vectors[kept], self._chosen)
        self.rows = self.rows.filter(pa.array(kept)).combine_chunks()
        self._deleted = np.zeros(len(self.rows), bool)
        self._changed()

    def search(
        self, query: ArrayLike, k: int, only: Filter | None = None, text: str | None = None
    ) -> list[list[Hit]]:
        """The `k` nearest phrases of each query, best first.

        Args:
            query: (Q, D), each of length 1.
            k: hits a query; an index of fewer phrases returns them all.
            only: conditions that hits meet. No more than 50,000 phrases left are compared
                with one by one, so that the hits are exactly the nearest of them.
            text: words of the one query, to search transcripts and anchors for as well; the
                two rankings are fused, and `score` still is the similarity of the vectors.

        Returns:
            Q lists of at most `k` hits.

        Raises:
            UserError: the query has other dimensions than the index, or is not of length 1;
                a filter asks for what no phrase has.
        """
        query_QD = _unit_vectors(query, "query")
        if query_QD.shape[1] != self.dim:
            raise UserError(
                f"query: found {query_QD.shape[1]} dimensions, expected {self.dim} as in the "
                "index: embed the query with the encoder the index was built with"
            )
        if k < 1:
            raise UserError(f"k: found {k}, expected 1 or more")
        allowed = self._allowed(only)
        if text is not None:
            if len(query_QD) != 1:
                raise UserError(f"text: it goes with one query, found {len(query_QD)}")
            return [self._search_with_words(query_QD, k, allowed, text)]
        scores_QK, numbers_QK = self.vectors.search(query_QD, min(k, len(self)), allowed)
        # A graph may reach fewer than k phrases, a filter leave fewer: the rest is -1.
        return [
            self._hits(numbers[numbers >= 0], scores[numbers >= 0])
            for scores, numbers in zip(scores_QK, numbers_QK, strict=True)
        ]

    def vectors_of(self, hits: list[Hit]) -> NDArray[np.float32]:
        """(K, D): the embeddings of hits."""
        number_of = {id: number for number, id in enumerate(self.rows["phrase_id"].to_pylist())}
        return self.vectors.vectors[[number_of[hit.phrase_id] for hit in hits]]

    def live_rows(self) -> pa.Table:
        """The rows of phrases that can be found."""
        import pyarrow as pa

        return self.rows.filter(pa.array(~self._deleted)).combine_chunks()

    def save(self, folder: str | Path) -> None:
        """Write the index into a folder, which is made if need be."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.vectors.save(folder / _VECTORS)
        table = self.rows.append_column(_DELETED, pa.array(self._deleted))
        pq.write_table(table, folder / _ROWS, compression="zstd")
        about = {
            "schema_version": SCHEMA_VERSION,
            "kind": self.kind,
            "chosen": self._chosen,
            "effort": asdict(self.vectors.effort),
            "count": len(self.vectors),
            "deleted": int(self._deleted.sum()),
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
        import pyarrow.parquet as pq

        folder = Path(folder)
        for name in (_ABOUT, _VECTORS, _ROWS):
            if not (folder / name).is_file():
                raise UserError(f"index {folder}: found no {name}: build the index again")
        try:
            about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
            version = about["schema_version"]
            if version == SCHEMA_VERSION:
                hashes, recall_at_10 = about["sha256"], about["recall_at_10"]
                expected = {"count": about["count"], "dim": about["dim"]}
                kind, chosen = about["kind"], about["chosen"]
                effort = Effort(**about["effort"])
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
        vectors = VectorIndex.load(folder / _VECTORS, kind, effort)
        rows = pq.read_table(folder / _ROWS).combine_chunks()
        for piece, found in (
            (_VECTORS, {"count": len(vectors), "dim": vectors.dim}),
            (_ROWS, {"count": rows.num_rows, "dim": expected["dim"]}),
        ):
            if found != expected:
                raise UserError(
                    f"index {folder}: {piece} holds {found}, {_ABOUT} says {expected}: "
                    "build the index again"
                )
        deleted = rows[_DELETED].to_numpy()
        return cls(vectors, rows.drop_columns(_DELETED), deleted, chosen, recall_at_10)

    @cached_property
    def _words(self) -> WordIndex:
        return WordIndex(self.rows)

    def _changed(self) -> None:
        self._recall = None
        self.__dict__.pop("_words", None)

    def _allowed(self, only: Filter | None) -> NDArray[np.bool_] | None:
        if only:
            return only.mask(self.rows) & ~self._deleted
        return ~self._deleted if self._deleted.any() else None

    def _search_with_words(
        self, query: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None, text: str
    ) -> list[Hit]:
        depth = min(max(_FUSED_DEPTH, 2 * k), len(self))
        numbers = self.vectors.search(query, depth, allowed)[1][0]
        spoken = self._words.scores(text)
        if allowed is not None:
            spoken = np.where(allowed, spoken, 0)
        chosen = np.array(fused([numbers[numbers >= 0], best(spoken, depth)], k), np.int64)
        return self._hits(chosen, self.vectors.vectors[chosen] @ query[0])

    def _hits(self, numbers: NDArray[np.int64], scores: NDArray[np.float32]) -> list[Hit]:
        # Column by column: a table's own take spreads over threads, whose start takes longer
        # than to read a few rows.
        columns = {
            name: self.rows[name].chunk(0).take(numbers).to_pylist()
            for name in COLUMNS
            if name != "split"
        }
        return [
            Hit(rank=rank, score=float(score), **dict(zip(columns, values, strict=True)))
            for rank, (score, *values) in enumerate(
                zip(scores, *columns.values(), strict=True), start=1
            )
        ]


def _known_rows(rows: pa.Table, count: int) -> pa.Table:
    """The columns of an index, null where there are no anchors."""
    import pyarrow as pa

    missing = [name for name in FACTS if name not in rows.column_names]
    if missing:
        raise UserError(
            f"index rows: found no column {', '.join(missing)} among {', '.join(rows.column_names)}"
        )
    if not count or count != rows.num_rows:
        raise UserError(
            f"index: found {count} embeddings and {rows.num_rows} rows, "
            "expected one row an embedding and at least one of them"
        )
    for name in ANCHOR:
        if name not in rows.column_names:
            rows = rows.append_column(name, pa.nulls(count, pa.string()))
    return rows.select(list(COLUMNS)).combine_chunks()


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


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
