"""The index against brute force, on disk and back, and what it refuses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gestray.errors import UserError
from gestray.retrieval.index import COLUMNS, GestureIndex, _recall_at_10


def unit(values: np.ndarray) -> np.ndarray:
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def random_vectors(count: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)))


def clustered_vectors(count: int, dim: int = 32) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, dim))
    return unit(centres[rng.integers(40, size=count)] + 0.4 * rng.normal(size=(count, dim)))


def phrase_rows(count: int) -> pa.Table:
    numbers = range(count)
    return pa.table(
        {
            "phrase_id": [f"p{i}" for i in numbers],
            "take_id": [f"t{i // 4}" for i in numbers],
            "speaker": ["ada" if i % 2 else "bo" for i in numbers],
            "split": ["test"] * count,
            "start_s": [0.5 * i for i in numbers],
            "end_s": [0.5 * i + 2.0 for i in numbers],
            "text": [f"words {i}" for i in numbers],
            "form_text": [None if i % 3 else f"form {i}" for i in numbers],
            "intent": [None if i % 3 else "stop" for i in numbers],
        }
    )


def test_exact_search_is_brute_force() -> None:
    vectors, queries = random_vectors(300), random_vectors(20, seed=1)
    hits = GestureIndex.build(vectors, phrase_rows(300)).search(queries, 7)
    similarity = queries @ vectors.T
    expected = np.argsort(-similarity, axis=1)[:, :7]
    assert [[hit.phrase_id for hit in found] for found in hits] == [
        [f"p{i}" for i in row] for row in expected
    ]
    np.testing.assert_allclose(
        [[hit.score for hit in found] for found in hits],
        np.take_along_axis(similarity, expected, axis=1),
        atol=1e-5,
    )
    assert [hit.rank for hit in hits[0]] == [1, 2, 3, 4, 5, 6, 7]


def test_a_hit_carries_its_row() -> None:
    vectors = random_vectors(10)
    index = GestureIndex.build(vectors, phrase_rows(10))
    ((hit,),) = index.search(vectors[6:7], 1)
    assert (hit.phrase_id, hit.take_id, hit.speaker) == ("p6", "t1", "bo")
    assert (hit.start_s, hit.end_s, hit.text) == (3.0, 5.0, "words 6")
    assert (hit.form_text, hit.intent) == ("form 6", "stop")
    ((hit,),) = index.search(vectors[7:8], 1)
    assert hit.form_text is None
    assert len(index.search(vectors[:1], 99)[0]) == 10


@pytest.mark.parametrize("exact_below", [1000, 10])
def test_round_trip(tmp_path: Path, exact_below: int) -> None:
    vectors = clustered_vectors(200)
    index = GestureIndex.build(vectors, phrase_rows(200), exact_below=exact_below)
    index.save(tmp_path)
    loaded = GestureIndex.load(tmp_path)
    assert (len(loaded), loaded.dim, loaded.kind) == (200, 32, index.kind)
    assert loaded.recall_at_10 == index.recall_at_10
    assert loaded.rows.equals(index.rows)
    assert loaded.search(vectors[:5], 4) == index.search(vectors[:5], 4)


def test_equal_inputs_write_equal_files_on_any_number_of_threads(tmp_path: Path) -> None:
    threads = faiss.omp_get_max_threads()
    try:
        for name, count in (("a", 1), ("b", 8)):
            faiss.omp_set_num_threads(count)
            index = GestureIndex.build(clustered_vectors(1500), phrase_rows(1500), exact_below=10)
            index.save(tmp_path / name)
    finally:
        faiss.omp_set_num_threads(threads)
    for file in ("index.faiss", "rows.parquet", "index.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_graph_finds_nearly_all_neighbours() -> None:
    vectors = clustered_vectors(3000)
    index = GestureIndex.build(vectors, phrase_rows(3000), exact_below=1000)
    assert index.kind == "hnsw"
    assert index.recall_at_10 > 0.95
    # The recall it states is that of new queries too, against an exact index.
    queries = unit(vectors[::30] + 0.05 * random_vectors(100, dim=32, seed=5))
    exact = GestureIndex.build(vectors, phrase_rows(3000)).search(queries, 10)
    graph = index.search(queries, 10)
    shared = [
        len({hit.phrase_id for hit in a} & {hit.phrase_id for hit in b}) / 10
        for a, b in zip(exact, graph, strict=True)
    ]
    assert np.mean(shared) == pytest.approx(index.recall_at_10, abs=0.04)


class PoorGraph:
    """Finds the query itself and `found` of its true neighbours."""

    def __init__(self, vectors: np.ndarray, found: int) -> None:
        self.vectors, self.found = vectors, found

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        similarity = queries @ self.vectors.T
        ids = np.argsort(-similarity, axis=1)[:, :k]
        scores = np.take_along_axis(similarity, ids, axis=1)
        ids[:, 1 + self.found :] = -1
        scores[:, 1 + self.found :] = -np.inf
        return scores, ids


@pytest.mark.parametrize("found", [0, 4, 10])
def test_finding_oneself_is_no_recall(found: int) -> None:
    vectors = random_vectors(200)
    assert _recall_at_10(PoorGraph(vectors, found), vectors) == pytest.approx(found / 10)


def test_equal_vectors_do_not_lower_the_recall() -> None:
    vectors = np.repeat(random_vectors(100), 20, axis=0)
    index = GestureIndex.build(vectors, phrase_rows(2000), exact_below=1000)
    assert index.recall_at_10 > 0.95


def test_pieces_of_two_builds_are_refused(tmp_path: Path) -> None:
    for name, count, seed in (("a", 50, 0), ("b", 50, 1)):
        vectors = random_vectors(count, seed=seed)
        GestureIndex.build(vectors, phrase_rows(count)).save(tmp_path / name)
    other = (tmp_path / "b" / "index.faiss").read_bytes()
    (tmp_path / "a" / "index.faiss").write_bytes(other)
    with pytest.raises(UserError, match=r"index\.faiss is not the file"):
        GestureIndex.load(tmp_path / "a")


@pytest.mark.parametrize("key", ["count", "dim"])
def test_counts_and_dimensions_must_agree(tmp_path: Path, key: str) -> None:
    GestureIndex.build(random_vectors(50), phrase_rows(50)).save(tmp_path)
    about = json.loads((tmp_path / "index.json").read_text())
    about[key] += 1
    (tmp_path / "index.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match=r"index\.faiss holds"):
        GestureIndex.load(tmp_path)


def test_a_row_too_few_is_refused_even_under_a_fitting_hash(tmp_path: Path) -> None:
    GestureIndex.build(random_vectors(50), phrase_rows(50)).save(tmp_path)
    pq.write_table(phrase_rows(49), tmp_path / "rows.parquet")
    about = json.loads((tmp_path / "index.json").read_text())
    content = (tmp_path / "rows.parquet").read_bytes()
    about["sha256"]["rows.parquet"] = hashlib.sha256(content).hexdigest()
    (tmp_path / "index.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match=r"rows\.parquet holds .*49"):
        GestureIndex.load(tmp_path)


def test_damaged_folders_are_refused(tmp_path: Path) -> None:
    GestureIndex.build(random_vectors(50), phrase_rows(50)).save(tmp_path)
    about = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps(about | {"schema_version": 99}))
    with pytest.raises(UserError, match="schema version 99"):
        GestureIndex.load(tmp_path)
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(UserError, match=r"index\.json cannot be read"):
        GestureIndex.load(tmp_path)
    (tmp_path / "rows.parquet").unlink()
    with pytest.raises(UserError, match=r"found no rows\.parquet"):
        GestureIndex.load(tmp_path)


def test_what_does_not_fit_is_refused() -> None:
    vectors = random_vectors(20)
    with pytest.raises(UserError, match="20 embeddings and 19 rows"):
        GestureIndex.build(vectors, phrase_rows(19))
    with pytest.raises(UserError, match="no column intent"):
        GestureIndex.build(vectors, phrase_rows(20).drop_columns("intent"))
    longer = vectors.copy()
    longer[3] *= 2
    with pytest.raises(UserError, match=r"row 3: found a vector of length 2\.0"):
        GestureIndex.build(longer, phrase_rows(20))
    index = GestureIndex.build(vectors, phrase_rows(20))
    with pytest.raises(UserError, match="found 8 dimensions, expected 16"):
        index.search(random_vectors(1, dim=8), 3)
    with pytest.raises(UserError, match="query, row 0"):
        index.search(np.full((1, 16), np.nan), 3)


def test_rows_keep_only_the_columns_of_the_index() -> None:
    rows = phrase_rows(12).append_column("note", pa.array(["x"] * 12))
    assert GestureIndex.build(random_vectors(12), rows).rows.column_names == list(COLUMNS)
