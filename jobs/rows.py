"""Reading and writing the row tables of artifacts (everything but motion).

Rows of primitives, anchors and embeddings are a kilobyte or two each, so the
driver streams them into one Parquet file as they arrive: ordered, counted, and
with a progress bar that means rows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gestray.store import Folder
from gestray.views.catalog import TakeRef, read_columns
from gestray.work import Work, note
from jobs.cluster import at_once, connect, runs_here
from jobs.display import progress

ROWS = "rows.parquet"
# A group of rows ends with so many of them, or so many bytes in memory. Every group costs whoever
# reads the file, so tables of single takes, a handful of rows each, are gathered.
_GROUP_ROWS, _GROUP_BYTES = 4096, 64 << 20


def write_rows(
    folder: Folder,
    tables: Iterable[pa.Table],
    schema: pa.Schema,
    what: str,
    expected: int,
    see: Callable[[pa.Table], None] | None = None,
    group_rows: int = _GROUP_ROWS,
) -> int:
    """Write tables to the artifact's row file as they arrive, under a progress bar.

    Args:
        folder: the artifact's.
        tables: rows, in any number of pieces.
        schema: of the file; other columns are left out.
        what: the bar's description.
        expected: number of rows to come.
        see: shown every piece, for figures over the rows.
        group_rows: most rows of a group; 1 where rows are large and read one by one.

    Returns:
        The number of rows written.
    """
    count = 0
    with (
        progress(what, expected) as track,
        folder.open_output(ROWS) as stream,
        pq.ParquetWriter(stream, schema, compression="zstd") as writer,
    ):
        waiting = schema.empty_table()
        for table in tables:
            waiting = pa.concat_tables([waiting, table.select(schema.names).cast(schema)])
            if len(waiting) >= group_rows or waiting.nbytes >= _GROUP_BYTES:
                writer.write_table(waiting, row_group_size=group_rows)
                waiting = schema.empty_table()
            if see is not None:
                see(table)
            count += len(table)
            track(count)
        if len(waiting):
            writer.write_table(waiting, row_group_size=group_rows)
    return count


def read_rows(folder: Folder, columns: list[str] | None = None) -> pa.Table:
    """The artifact's rows."""
    return pq.read_table(folder.path(ROWS), columns=columns, filesystem=folder.filesystem)


def map_rows(
    rows: pa.Table, worker: type, setup: Mapping[str, Any], actors: int, batch_size: int = 64
) -> Iterator[pa.Table]:
    """`worker(**setup)(table)` over the rows on Ray actors, results in order.

    For one actor and without a cluster, in this process. Of few rows each actor gets its share.
    """
    size = max(1, min(batch_size, math.ceil(len(rows) / actors)))
    slices = [rows.slice(first, size) for first in range(0, len(rows), size)]
    if not slices:
        return
    if runs_here(actors):
        yield from _noted(map(_Timed(worker(**setup)), slices), 1)
        return
    connect()
    import ray.data

    yield from _run(ray.data.from_arrow(slices), worker, setup, min(actors, len(slices)))


def map_takes(
    takes: Folder, catalog: list[TakeRef], worker: type, setup: Mapping[str, Any], actors: int
) -> Iterator[pa.Table]:
    """`worker(**setup)(ref, take)` over takes on Ray actors, results in order.

    `worker.columns` names the columns of the take it is given. For one actor and without a
    cluster, in this process.
    """
    reader: dict[str, Any] = {"takes": takes, "worker": worker, "setup": setup}
    if runs_here(actors):
        made = _Timed(_TakeReader(**reader).read)
        yield from _noted(map(made, catalog), 1)
        return
    connect()
    import ray.data

    items = [{"ref": ref} for ref in catalog]
    dataset = ray.data.from_items(items, override_num_blocks=len(items))
    yield from _run(dataset, _TakeReader, reader, min(actors, len(items)))


class _TakeReader:
    """Ray Data's side of `map_takes`."""

    def __init__(self, takes: Folder, worker: type, setup: Mapping[str, Any]) -> None:
        self.takes = takes
        self.worker = worker(**setup)

    def __call__(self, rows: pa.Table) -> pa.Table:
        return self.read(rows["ref"][0].as_py())

    def read(self, ref: TakeRef) -> pa.Table:
        return self.worker(ref, read_columns(self.takes, ref, self.worker.columns))


_ACTORS_START_S = 300
_wait: ContextVar[bool] = ContextVar("wait", default=False)


@contextmanager
def actors_wait_for_each_other() -> Iterator[None]:
    """In the block no actor works before all of them can, where the cluster has room for them."""
    token = _wait.set(True)
    try:
        yield
    finally:
        _wait.reset(token)


# Columns of tables on their way from workers: seconds that the row took, and whether it is of a
# worker's first call, which warms up.
_BUSY, _FIRST = "_busy_s", "_first"


class _Timed:
    """A worker that says how long its rows took."""

    def __init__(self, worker: Callable[[Any], pa.Table]) -> None:
        self.worker = worker
        self.owed = 0.0  # of calls that made no row
        self.is_first = True

    def __call__(self, given: Any) -> pa.Table:
        began = time.perf_counter()
        made = self.worker(given)
        spent, rows = self.owed + time.perf_counter() - began, len(made)
        self.owed = 0.0 if rows else spent
        first, self.is_first = self.is_first, self.is_first and not rows
        each = np.full(rows, spent / max(rows, 1))
        made = made.append_column(_BUSY, pa.array(each, pa.float64()))
        return made.append_column(_FIRST, pa.array([first] * rows, pa.bool_()))


class _Actor(_Timed):
    """As `_Timed`, for Ray Data to make."""

    def __init__(self, worker: type, setup: Mapping[str, Any]) -> None:
        super().__init__(worker(**setup))


def _noted(tables: Iterable[pa.Table], workers: int) -> Iterator[pa.Table]:
    """The tables without what `_Timed` says in them, which is noted of the stage."""
    busy, first = [np.empty(0)], [np.empty(0, bool)]
    driver_s = 0.0
    for table in tables:
        busy.append(table[_BUSY].to_numpy())
        first.append(table[_FIRST].to_numpy())
        began = time.perf_counter()
        yield table.drop_columns([_BUSY, _FIRST])
        driver_s += time.perf_counter() - began
    seconds, warming = np.concatenate(busy), np.concatenate(first)
    if not len(seconds):
        return
    warm = seconds[~warming]
    # Where most rows came in first calls, what the others took would say little.
    each = float(np.mean(warm if 2 * len(warm) >= len(seconds) else seconds))
    count = len(seconds)
    note(Work(unit="rows", units=count, workers=workers, busy_s=each * count, driver_s=driver_s))


def _run(dataset: Any, worker: type, setup: Mapping[str, Any], actors: int) -> Iterator[pa.Table]:
    """A call of the worker for each block of the dataset."""
    import ray.data

    dataset.context.execution_options.preserve_order = True
    if _wait.get() and actors <= ray.cluster_resources().get("CPU", 0):
        dataset.context.wait_for_min_actors_s = _ACTORS_START_S
    results = dataset.map_batches(
        _Actor,
        fn_constructor_kwargs={"worker": worker, "setup": dict(setup)},
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=1,
    )
    tables = results.iter_batches(batch_size=None, batch_format="pyarrow")
    yield from _noted(tables, at_once(actors))
