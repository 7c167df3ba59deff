"""Reading and writing the row tables of artifacts (everything but motion).

Rows of primitives, anchors and embeddings are a kilobyte or two each, so the
driver streams them into one Parquet file as they arrive: ordered, counted, and
with a progress bar that means rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gestray.store import Folder
from gestray.views.catalog import TakeRef, read_columns
from jobs.cluster import connect, runs_here
from jobs.display import progress

ROWS = "rows.parquet"
_ROW_GROUP = 4096


def write_rows(
    folder: Folder,
    tables: Iterable[pa.Table],
    schema: pa.Schema,
    what: str,
    expected: int,
    see: Callable[[pa.Table], None] | None = None,
) -> int:
    """Write tables to the artifact's row file as they arrive, under a progress bar.

    Args:
        folder: the artifact's.
        tables: rows, in any number of pieces.
        schema: of the file; other columns are left out.
        what: the bar's description.
        expected: number of rows to come.
        see: shown every piece, for figures over the rows.

    Returns:
        The number of rows written.
    """
    count = 0
    with (
        progress(what, expected) as track,
        folder.open_output(ROWS) as stream,
        pq.ParquetWriter(stream, schema, compression="zstd") as writer,
    ):
        for table in tables:
            writer.write_table(table.select(schema.names).cast(schema), row_group_size=_ROW_GROUP)
            if see is not None:
                see(table)
            count += len(table)
            track(count)
    return count


def read_rows(folder: Folder, columns: list[str] | None = None) -> pa.Table:
    """The artifact's rows."""
    return pq.read_table(folder.path(ROWS), columns=columns, filesystem=folder.filesystem)


def map_rows(
    rows: pa.Table, worker: type, setup: Mapping[str, Any], actors: int, batch_size: int = 64
) -> Iterator[pa.Table]:
    """`worker(**setup)(table)` over the rows on Ray actors, results in order.

    For one actor and without a cluster, in this process.
    """
    if runs_here(actors):
        made = worker(**setup)
        for first in range(0, len(rows), batch_size):
            yield made(rows.slice(first, batch_size))
        return
    connect()
    import ray.data

    blocks = max(1, len(rows) // batch_size)
    dataset = ray.data.from_arrow(rows).repartition(blocks)
    yield from _run(dataset, worker, setup, min(actors, blocks), batch_size)


def map_takes(
    takes: Folder, catalog: list[TakeRef], worker: type, setup: Mapping[str, Any], actors: int
) -> Iterator[pa.Table]:
    """`worker(**setup)(ref, take)` over takes on Ray actors, results in order.

    `worker.columns` names the columns of the take it is given. For one actor and without a
    cluster, in this process.
    """
    if runs_here(actors):
        made = worker(**setup)
        for ref in catalog:
            yield made(ref, read_columns(takes, ref, made.columns))
        return
    connect()
    import ray.data

    items = [{"ref": ref} for ref in catalog]
    dataset = ray.data.from_items(items, override_num_blocks=len(items))
    reader = {"takes": takes, "worker": worker, "setup": setup}
    yield from _run(dataset, _TakeReader, reader, min(actors, len(items)), batch_size=1)


class _TakeReader:
    """Ray Data's side of `map_takes`."""

    def __init__(self, takes: Folder, worker: type, setup: Mapping[str, Any]) -> None:
        self.takes = takes
        self.worker = worker(**setup)

    def __call__(self, rows: pa.Table) -> pa.Table:
        ref = rows["ref"][0].as_py()
        return self.worker(ref, read_columns(self.takes, ref, self.worker.columns))


def _run(
    dataset: Any, worker: type, setup: Mapping[str, Any], actors: int, batch_size: int
) -> Iterator[pa.Table]:
    import ray.data

    dataset.context.execution_options.preserve_order = True
    results = dataset.map_batches(
        worker,
        fn_constructor_kwargs=dict(setup),
        batch_size=batch_size,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=1,
    )
    yield from results.iter_batches(batch_size=None, batch_format="pyarrow")
