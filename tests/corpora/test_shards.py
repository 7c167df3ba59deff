"""Shards: what goes in comes out, and a recording is stored once, at its own size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gestray.corpora.beat2 import list_takes, read_take
from gestray.corpora.shards import ShardWriter
from gestray.corpora.take import Take


def write(path: Path, takes: list[Take]) -> pq.ParquetFile:
    with path.open("wb") as stream, ShardWriter(stream) as writer:
        for take in takes:
            writer.write(take)
    return pq.ParquetFile(path)


def recording_bytes(take: Take) -> int:
    """float32 motion and PCM16 audio."""
    motion = (take.poses, take.trans, take.expressions)
    return sum(part.nbytes for part in motion if part is not None) + len(take.audio or b"")


def stored_bytes(file: pq.ParquetFile, row_group: int) -> int:
    """Before compression, as the file's own metadata says."""
    columns = file.metadata.row_group(row_group)
    return sum(columns.column(i).total_uncompressed_size for i in range(columns.num_columns))


def test_every_take_is_a_row_group_and_comes_out_as_it_went_in(
    synthetic_corpus: Path, tmp_path: Path
) -> None:
    ids = list_takes(synthetic_corpus).take_ids[:3]
    takes = [read_take(synthetic_corpus, take_id) for take_id in ids]
    takes[1].poses = takes[1].joint_mask = takes[1].trans = takes[1].expressions = None
    file = write(tmp_path / "shard", takes)
    assert file.num_row_groups == 3
    for number, take in enumerate(takes):
        assert file.read_row_group(number).equals(take.to_table())


def test_floats_of_any_bits_survive(tmp_path: Path) -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, (50, 165), dtype=np.uint32)
    take = Take("a", "train", poses=bits.view(np.float32))
    stored = Take.from_row(write(tmp_path / "shard", [take]).read_row_group(0))
    assert stored.poses is not None
    np.testing.assert_array_equal(stored.poses.view(np.uint32), bits)


@pytest.mark.parametrize("which", ["real", "synthetic"])
def test_a_take_is_stored_at_the_size_of_its_recording(
    which: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """At most 1.1 times motion and audio, before compression; no window is stored."""
    if which == "real":
        root = request.getfixturevalue("shared_dir") / "data" / "beat2" / "beat_english_v2.0.0"
    else:
        root = request.getfixturevalue("synthetic_corpus")
    takes = [read_take(root, take_id) for take_id in list_takes(root).take_ids]
    file = write(tmp_path / "shard", takes)
    for number, take in enumerate(takes):
        assert stored_bytes(file, number) <= 1.1 * recording_bytes(take), take.take_id
    recorded = sum(recording_bytes(take) for take in takes)
    assert (tmp_path / "shard").stat().st_size < recorded
    assert pa.types.is_list(file.schema_arrow.field("poses").type)
