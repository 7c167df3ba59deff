"""The catalogue of a corpus: every take's small facts, read once, without its motion.

Views count their samples from it and batching orders them, so that the motion
itself is only read where a batch is made. In a shard each take is one row
group, which makes it addressable: (shard, row group).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gestray.corpora.shards import SHARDS
from gestray.errors import UserError
from gestray.store import Folder, patiently

FACTS = ["take_id", "speaker", "split", "num_frames", "duration_s", "words"]


@dataclass(frozen=True)
class TakeRef:
    """Where a take is stored, and what a view needs to count samples in it."""

    shard: str
    row_group: int
    take_id: str
    speaker: str | None
    split: str
    num_frames: int | None
    duration_s: float
    words: tuple[dict[str, Any], ...] | None


def read_catalog(takes: Folder) -> list[TakeRef]:
    """All takes of a `takes` artifact, in stored order."""
    shards = [path for path in takes.list(SHARDS) if path.endswith(".parquet")]
    if not shards:
        raise UserError(f"{takes.uri}: found no shards/*.parquet, expected the shards of a corpus")
    catalog = []
    for shard in shards:
        rows = patiently(partial(_read_facts, takes, shard), f"read {takes.path(shard)}")
        for row_group, row in enumerate(rows):
            words = row.pop("words")
            catalog.append(
                TakeRef(
                    shard=shard,
                    row_group=row_group,
                    words=None if words is None else tuple(words),
                    **row,
                )
            )
    return catalog


def _read_facts(takes: Folder, shard: str) -> list[dict[str, Any]]:
    table = pq.read_table(takes.path(shard), columns=FACTS, filesystem=takes.filesystem)
    return table.to_pylist()


def _open_shard(takes: Folder, shard: str) -> pq.ParquetFile:
    return _opened_by(threading.get_ident(), takes, shard)


@lru_cache(maxsize=16)
def _opened_by(thread: int, takes: Folder, shard: str) -> pq.ParquetFile:
    """Each thread's own: with `pre_buffer`, two that read from one take each other's bytes away."""
    return pq.ParquetFile(takes.path(shard), filesystem=takes.filesystem, pre_buffer=True)


def read_columns(takes: Folder, ref: TakeRef, columns: Sequence[str]) -> pa.Table:
    """The named columns of one take, as a table of one row."""

    def read() -> pa.Table:
        file = _open_shard(takes, ref.shard)
        return file.read_row_group(ref.row_group, columns=list(columns), use_threads=False)

    return patiently(read, f"read take {ref.take_id} of {takes.path(ref.shard)}")


def takes_without(takes: Folder, catalog: Sequence[TakeRef], column: str) -> list[str]:
    """Ids of the takes whose `column`, of motion or sound, is null, from the shards' footers."""
    lacking = []
    for ref in catalog:
        opened = patiently(partial(_open_shard, takes, ref.shard), f"read {takes.path(ref.shard)}")
        row_group = opened.metadata.row_group(ref.row_group)
        chunks = (row_group.column(number) for number in range(row_group.num_columns))
        values = next(c for c in chunks if c.path_in_schema.partition(".")[0] == column)
        # A null take is one value, itself null; a take with motion has many frames.
        if values.num_values <= 1 and values.statistics.null_count:
            lacking.append(ref.take_id)
    return lacking
