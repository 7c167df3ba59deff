"""Row files: in which groups rows lie, and that none is lost on the way there."""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gestray.store import Folder
from jobs import rows
from jobs.rows import ROWS, actors_wait_for_each_other, map_rows, read_rows, write_rows

SCHEMA = pa.schema([("number", pa.int64()), ("text", pa.string())])


def tables(sizes: list[int]) -> list[pa.Table]:
    ends = [sum(sizes[: n + 1]) for n in range(len(sizes))]
    return [
        pa.table({"number": range(end - size, end), "text": ["x" * 100] * size}, SCHEMA)
        for size, end in zip(sizes, ends, strict=True)
    ]


@pytest.mark.parametrize(
    ("sizes", "group_rows", "groups"),
    [
        ([3] * 7, 10, [10, 2, 9]),  # four tables are enough for a group, and two rows more
        ([25], 10, [10, 10, 5]),
        ([1] * 4, 1, [1, 1, 1, 1]),
        ([0, 2, 0], 10, [2]),
        ([], 10, []),
    ],
)
def test_rows_of_small_tables_lie_together(tmp_path, sizes, group_rows, groups) -> None:
    folder = Folder(str(tmp_path))
    written = write_rows(
        folder, iter(tables(sizes)), SCHEMA, "write", sum(sizes), group_rows=group_rows
    )
    found = pq.ParquetFile(tmp_path / ROWS).metadata
    assert written == sum(sizes)
    assert [found.row_group(n).num_rows for n in range(found.num_row_groups)] == groups
    assert read_rows(folder)["number"].to_pylist() == list(range(sum(sizes)))


def test_a_group_of_large_rows_ends_before_memory_does(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(rows, "_GROUP_BYTES", 1000)
    write_rows(Folder(str(tmp_path)), iter(tables([5] * 4)), SCHEMA, "write", 20)
    assert pq.ParquetFile(tmp_path / ROWS).num_row_groups == 2


class SlowToStart:
    """Says when it was ready and when it was called; all but the first take two seconds."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        try:
            (self.folder / "first").touch(exist_ok=False)
        except FileExistsError:
            time.sleep(2)
        self.ready = time.time()

    def __call__(self, rows: pa.Table) -> pa.Table:
        return rows.append_column("ready", pa.array([self.ready] * len(rows))).append_column(
            "called", pa.array([time.time()] * len(rows))
        )


@pytest.mark.ray
def test_actors_wait_for_each_other_where_they_are_asked_to(tmp_path, ray_cluster) -> None:
    few = pa.concat_tables(tables([6]))
    with actors_wait_for_each_other():
        found = pa.concat_tables(map_rows(few, SlowToStart, {"folder": str(tmp_path)}, 2))
    assert found["number"].to_pylist() == list(range(6))
    readies = set(found["ready"].to_pylist())
    assert len(readies) == 2, "one did everything"
    assert min(found["called"].to_pylist()) >= max(readies)
