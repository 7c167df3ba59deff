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
import torch

from gestray.errors import UserError
from gestray.retrieval.filters import Filter
from gestray.retrieval.index import COLUMNS, GestureIndex
from gestray.retrieval.vectors import Effort, Kind, VectorIndex, exact_on_device
from gestray.retrieval.words import fused


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
            "intent_text": [None if i % 3 else f"Tells number {i} to stop." for i in numbers],
            "handedness": [None if i % 3 else ("left", "both")[i % 2] for i in numbers],
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


@pytest.mark.parametrize("kind", ["exact", "hnsw", "ivf"])
def test_round_trip(tmp_path: Path, kind: Kind) -> None:
    vectors = clustered_vectors(800)
    index = GestureIndex.build(vectors, phrase_rows(800), kind)
    index.delete(["p3", "p5"])
    index.save(tmp_path)
    loaded = GestureIndex.load(tmp_path)
    assert (len(loaded), loaded.dim, loaded.kind) == (798, 32, kind)
    assert loaded.recall_at_10 == index.recall_at_10
    assert loaded.rows.equals(index.rows)
    assert loaded.search(vectors[:5], 4) == index.search(vectors[:5], 4)


def test_equal_inputs_write_equal_files_on_any_number_of_threads(tmp_path: Path) -> None:
    threads = faiss.omp_get_max_threads()
    try:
        for name, count in (("a", 1), ("b", 8)):
            faiss.omp_set_num_threads(count)
            index = GestureIndex.build(clustered_vectors(1500), phrase_rows(1500), "hnsw")
            index.save(tmp_path / name)
    finally:
        faiss.omp_set_num_threads(threads)
    for file in ("index.faiss", "rows.parquet", "index.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_the_recall_that_is_stated_is_that_of_new_queries(kind: Kind) -> None:
    vectors = clustered_vectors(3000)
    index = GestureIndex.build(vectors, phrase_rows(3000), kind)
    assert index.recall_at_10 > 0.95
    queries = unit(vectors[::30] + 0.05 * random_vectors(100, dim=32, seed=5))
    exact = GestureIndex.build(vectors, phrase_rows(3000), "exact").search(queries, 10)
    found = index.search(queries, 10)
    shared = [
        len({hit.phrase_id for hit in a} & {hit.phrase_id for hit in b}) / 10
        for a, b in zip(exact, found, strict=True)
    ]
    assert np.mean(shared) == pytest.approx(index.recall_at_10, abs=0.04)


def test_only_directions_that_vectors_use_are_compressed() -> None:
    rng = np.random.default_rng(3)
    along = rng.normal(size=(20, 256))  # a space of 20 directions, and a little of all others
    narrow = unit(rng.normal(size=(6000, 20)) @ along + 0.5 * rng.normal(size=(6000, 256)))
    kept = {}
    for name, vectors in (("narrow", narrow), ("wide", random_vectors(6000, 256))):
        index = VectorIndex(vectors, "ivf")
        kept[name] = faiss.extract_index_ivf(index.index).d
        # Exact similarities all the same: what was left out is compared in the end.
        scores, numbers = index.search(vectors[:50], 3)
        exact = np.take_along_axis(vectors[:50] @ vectors.T, numbers, axis=1)
        np.testing.assert_allclose(scores, exact, atol=1e-5)
    assert kept == {"narrow": 24, "wide": 240}
    index = VectorIndex(narrow, "ivf")
    assert index.recall_at_10() >= 0.98


def test_an_index_looks_further_in_the_way_that_helps_more() -> None:
    assert Effort(8, 20).further(100) == [Effort(16, 20), Effort(8, 40)]
    assert Effort(64, 320).further(100) == [Effort(100, 320)]  # no more is compared exactly
    assert Effort(100, 320).further(100) == []


@pytest.mark.parametrize("kind", ["exact", "hnsw", "ivf"])
@pytest.mark.parametrize(
    ("only", "matches"),
    [
        (Filter(speakers=("ada",)), lambda i: i % 2),
        (Filter(intents=("stop",), handedness=("left",)), lambda i: i % 6 == 0),
        (Filter(min_seconds=2.5), lambda i: i % 5 == 4),
        (Filter(max_seconds=1.9, takes=("t1", "t2")), lambda i: i // 4 in (1, 2) and i % 5 < 2),
    ],
)
def test_filtered_hits_are_exactly_the_nearest_of_those_left(kind, only, matches) -> None:
    vectors, queries = clustered_vectors(1000), clustered_vectors(1100)[1000:1005]
    rows = phrase_rows(1000)
    lengths = pa.array([0.5 * i + 1.5 + 0.25 * (i % 5) for i in range(1000)])
    rows = rows.set_column(rows.column_names.index("end_s"), "end_s", lengths)
    index = GestureIndex.build(vectors, rows, kind)
    index.delete([f"p{i}" for i in range(0, 1000, 10)])
    left = [i for i in range(1000) if matches(i) and i % 10]
    for query, hits in zip(queries, index.search(queries, 7, only), strict=True):
        expected = sorted(left, key=lambda i: -float(vectors[i] @ query))[:7]
        assert [hit.phrase_id for hit in hits] == [f"p{i}" for i in expected]


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_a_filter_that_leaves_many_lets_none_through_that_it_should_not(kind, monkeypatch) -> None:
    monkeypatch.setattr("gestray.retrieval.vectors.SCANNED_WHOLE", 100)
    vectors = clustered_vectors(3000)
    index = GestureIndex.build(vectors, phrase_rows(3000), kind)
    found = index.search(vectors[::50], 10, Filter(speakers=("ada",)))
    assert all(hit.speaker == "ada" for hits in found for hit in hits)
    exact = GestureIndex.build(vectors, phrase_rows(3000), "exact")
    expected = exact.search(vectors[::50], 10, Filter(speakers=("ada",)))
    shared = [
        len({hit.phrase_id for hit in a} & {hit.phrase_id for hit in b}) / 10
        for a, b in zip(expected, found, strict=True)
    ]
    assert np.mean(shared) > 0.9


def test_what_no_gesture_has_is_said_with_what_there_is() -> None:
    index = GestureIndex.build(random_vectors(20), phrase_rows(20))
    with pytest.raises(UserError, match=r"'eve': no gesture of the index has it; .* ada, bo"):
        index.search(random_vectors(1), 3, Filter(speakers=("ada", "eve")))


@pytest.mark.parametrize("kind", ["exact", "hnsw", "ivf"])
def test_adding_piece_by_piece_finds_what_building_at_once_finds(kind) -> None:
    vectors, queries = clustered_vectors(2000), clustered_vectors(2100)[2000:2040]
    rows = phrase_rows(2000)
    grown = GestureIndex.build(vectors[:1000], rows.slice(0, 1000), kind)
    for first in (1000, 1500):
        grown.add(vectors[first : first + 500], rows.slice(first, 500))
    assert grown.rows.equals(rows.select(list(COLUMNS)).combine_chunks())
    exact = GestureIndex.build(vectors, rows, "exact").search(queries, 5)
    found = grown.search(queries, 5)
    shared = [
        len({hit.phrase_id for hit in a} & {hit.phrase_id for hit in b}) / 5
        for a, b in zip(exact, found, strict=True)
    ]
    assert np.mean(shared) > (0.9 if kind != "exact" else 0.999)
    with pytest.raises(UserError, match="1 phrases are in it already, such as p7"):
        grown.add(vectors[7:8], rows.slice(7, 1))


@pytest.mark.parametrize("kind", ["exact", "hnsw", "ivf"])
def test_deleted_phrases_are_found_no_more_and_dropped_when_many(kind) -> None:
    vectors = clustered_vectors(1000)
    index = GestureIndex.build(vectors, phrase_rows(1000), kind)
    gone = [f"p{i}" for i in range(100)]
    assert index.delete([*gone, "unknown"]) == 100
    assert index.delete(gone) == 0
    assert (len(index), len(index.rows)) == (900, 1000)  # tombstones
    found = {hit.phrase_id for hits in index.search(vectors[:100], 10) for hit in hits}
    assert found.isdisjoint(gone)
    assert {len(hits) for hits in index.search(vectors[:100], 10)} == {10}
    index.delete([f"p{i}" for i in range(100, 300)])
    assert len(index) == len(index.rows) == 700  # compacted
    ((hit,),) = index.search(vectors[300:301], 1)
    assert hit.phrase_id == "p300"
    # What was deleted may come back.
    index.add(vectors[:1], phrase_rows(1))
    assert index.search(vectors[:1], 1)[0][0].phrase_id == "p0"
    with pytest.raises(UserError, match="nothing would be left"):
        index.delete([f"p{i}" for i in range(1000)])


def test_an_index_outgrows_its_kind(monkeypatch) -> None:
    monkeypatch.setattr("gestray.retrieval.vectors.EXACT_BELOW", 500)
    vectors, rows = clustered_vectors(900), phrase_rows(900)
    index = GestureIndex.build(vectors[:400], rows.slice(0, 400))
    chosen = GestureIndex.build(vectors[:400], rows.slice(0, 400), "exact")
    for one in (index, chosen):
        one.add(vectors[400:], rows.slice(400))
    assert (index.kind, chosen.kind) == ("ivf", "exact")
    assert index.recall_at_10 > 0.95
    assert index.search(vectors[450:451], 1)[0][0].phrase_id == "p450"


def test_exact_search_on_a_device_agrees_with_faiss() -> None:
    vectors, queries = random_vectors(500), random_vectors(9, seed=2)
    scores, numbers = exact_on_device(torch.from_numpy(vectors), queries, 12)
    expected, expected_numbers = VectorIndex(vectors, "exact").search(queries, 12)
    np.testing.assert_array_equal(numbers, expected_numbers)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


class PoorIndex(VectorIndex):
    """Finds the query itself and `found` of its true neighbours."""

    found = 0

    def search(self, queries, k, allowed=None):
        scores, numbers = self.index.search(queries, k)
        numbers[:, 1 + self.found :] = -1
        scores[:, 1 + self.found :] = -np.inf
        return scores, numbers


@pytest.mark.parametrize("found", [0, 4, 10])
def test_finding_oneself_is_no_recall(found: int) -> None:
    index = PoorIndex(random_vectors(200), "exact")
    index.kind, index.found = "hnsw", found
    index.__class__.vectors = property(lambda self: random_vectors(200))
    assert index.recall_at_10() == pytest.approx(found / 10)


def test_equal_vectors_do_not_lower_the_recall() -> None:
    vectors = np.repeat(random_vectors(100), 20, axis=0)
    for kind in ("hnsw", "ivf"):
        assert GestureIndex.build(vectors, phrase_rows(2000), kind).recall_at_10 > 0.95


def test_words_find_what_the_embedding_does_not() -> None:
    vectors = random_vectors(300)
    rows = phrase_rows(300)
    said = rows["text"].to_pylist()
    said[123] = "the Zeppelin over Friedrichshafen"
    rows = rows.set_column(rows.column_names.index("text"), "text", pa.array(said))
    index = GestureIndex.build(vectors, rows)
    far = np.argsort(vectors @ vectors[123])[:1]
    (alone,) = index.search(vectors[far], 10)
    (both,) = index.search(vectors[far], 10, text="zeppelin, please")
    assert "p123" not in {hit.phrase_id for hit in alone}
    assert {hit.phrase_id for hit in both[:2]} == {"p123", f"p{far[0]}"}
    (hit,) = [hit for hit in both if hit.phrase_id == "p123"]
    assert hit.score == pytest.approx(float(vectors[far[0]] @ vectors[123]), abs=1e-5)
    # Anchors are searched as well, filters hold, and words nobody said change nothing.
    (found,) = index.search(vectors[far], 5, Filter(speakers=("bo",)), text="42")
    assert "p42" in {hit.phrase_id for hit in found}
    assert all(hit.speaker == "bo" for hit in found)
    (same,) = index.search(vectors[far], 10, text="xyzzy")
    assert [hit.phrase_id for hit in same] == [hit.phrase_id for hit in alone]
    index.delete(["p123"])
    (gone,) = index.search(vectors[far], 10, text="zeppelin")
    assert "p123" not in {hit.phrase_id for hit in gone}


def test_rankings_are_fused_by_reciprocal_rank() -> None:
    first, second = np.array([5, 7, 9]), np.array([9, 5, 1])
    # 5: 1/61 + 1/62, 9: 1/63 + 1/61, 7: 1/62, 1: 1/63
    assert fused([first, second], 4) == [5, 9, 7, 1]


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
    with pytest.raises(UserError, match="no column speaker"):
        GestureIndex.build(vectors, phrase_rows(20).drop_columns("speaker"))
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
    bare = rows.drop_columns(["form_text", "intent", "intent_text", "handedness"])
    ((hit,),) = GestureIndex.build(random_vectors(12), bare).search(random_vectors(12)[2:3], 1)
    assert (hit.phrase_id, hit.intent, hit.handedness) == ("p2", None, None)
