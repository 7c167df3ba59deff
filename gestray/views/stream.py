"""Batches for training, streamed from the store.

`local_batches` reads in this process; `ray_batches` has Ray Data read ahead on
the cluster. Both give the same batches in the same order, because the order is
`BatchPlan`'s and the reading is `read_chunk`.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from gestray.store import Folder
from gestray.views.batching import BatchPlan, Chunk
from gestray.views.catalog import TakeRef, read_columns
from gestray.views.view import View

LANE = "_lane"
# The place of a row in its chunk.
PLACE = "_place"
# Chunks a read-ahead dataset holds at most: bounds the driver's bookkeeping for long runs.
CHUNKS_PER_DATASET = 512
# Of the cluster's object store, how much all ranks together read ahead into. Ray Data's own
# share is for each of them, so two ranks would already fill it.
OBJECT_STORE_SHARE = 0.3
# How long the scheduling loop rests while batches lie ready, and while none does.
PAUSE_S, SHORT_PAUSE_S = 0.05, 0.01


@dataclass(frozen=True)
class SampleStream:
    """What a rank needs to read its batches: the corpus, the view, the order.

    Args:
        takes: folder of the `takes` artifact.
        catalog: the artifact's takes.
        view: cuts the samples.
        plan: orders them.
    """

    takes: Folder
    catalog: tuple[TakeRef, ...]
    view: View
    plan: BatchPlan

    def local_batches(
        self, lanes: Sequence[int], first_step: int, steps: int
    ) -> Iterator[pa.Table]:
        """One table a step with the rows of these lanes, in lane order; read in this process.

        A thread reads ahead, a chunk of each lane: lanes run dry together.
        """
        chunks = self.plan.chunks(lanes, first_step, steps)
        parts = self._read_ahead(chunks, len(lanes))
        return rebatch(parts, lanes, self.plan.samples_per_lane, steps)

    def _read_ahead(self, chunks: Iterable[Chunk], most: int) -> Iterator[pa.Table]:
        pool = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        reading: deque[Future[pa.Table]] = deque()
        try:
            for chunk in chunks:
                reading.append(pool.submit(self.read_chunk, chunk, self.catalog))
                if len(reading) > most:
                    yield reading.popleft().result()
            while reading:
                yield reading.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def ray_batches(
        self,
        lanes: Sequence[int],
        first_step: int,
        steps: int,
        readers: int = 1,
        beside: bool = False,
    ) -> Iterator[pa.Table]:
        """As `local_batches`, with `readers` Ray tasks reading ahead.

        Args:
            beside: they run on this node and hold no CPU, for a group of workers that takes
                every CPU there is would wait for them for ever.
        """
        share = OBJECT_STORE_SHARE * len(lanes) / self.plan.lanes
        parts = self._ray_parts(self.plan.chunks(lanes, first_step, steps), readers, share, beside)
        return rebatch(parts, lanes, self.plan.samples_per_lane, steps)

    def read_chunk(self, chunk: Chunk, refs: Mapping[int, TakeRef] | Sequence[TakeRef]) -> pa.Table:
        """The chunk's samples; `refs[take]` says where the take is."""
        return in_order(self.read_takes(chunk, refs))

    def read_takes(self, chunk: Chunk, refs: Mapping[int, TakeRef] | Sequence[TakeRef]) -> pa.Table:
        """The chunk's samples take by take, each with its place in the chunk."""
        takes = np.asarray(chunk.takes)
        tables, places = [], []
        for take in np.unique(takes):
            where = np.flatnonzero(takes == take)
            ref = refs[int(take)]
            row = read_columns(self.takes, ref, self.view.columns)
            tables.append(self.view.cut(ref, row, [chunk.samples[i] for i in where]))
            places.append(where)
        rows = pa.concat_tables(tables)
        rows = rows.append_column(PLACE, pa.array(np.concatenate(places).astype(np.int32)))
        return rows.append_column(LANE, pa.array(np.full(len(chunk), chunk.lane, dtype=np.int32)))

    def _ray_parts(
        self, chunks: Iterator[Chunk], readers: int, share: float, beside: bool
    ) -> Iterator[pa.Table]:
        import ray
        import ray.data
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        held: dict[str, Any] = {"num_cpus": 0.5}
        if beside:
            here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), True)
            held = {"num_cpus": 0, "scheduling_strategy": here}

        object_store_bytes = ray.cluster_resources().get("object_store_memory", 0)
        limits = ray.data.ExecutionResources(object_store_memory=share * object_store_bytes)

        # The reader carries no catalogue: every item brings the takes it needs. Nor lengths.
        reader = SampleStream(self.takes, (), self.view, replace(self.plan, lengths=None))
        while batch := list(itertools.islice(chunks, CHUNKS_PER_DATASET)):
            items = [
                {"chunk": chunk, "refs": {take: self.catalog[take] for take in chunk.takes}}
                for chunk in batch
            ]
            dataset = ray.data.from_items(items, override_num_blocks=len(items))
            options = dataset.context.execution_options
            options.preserve_order = True
            options.resource_limits = limits
            dataset.context.enable_progress_bars = False
            dataset.context.custom_execution_callback_classes = [_unhurried()]
            # A block is a chunk, whatever its size: only whole ones can be put in order.
            dataset.context.target_max_block_size = None
            parts = dataset.map_batches(
                functools.partial(_read_item, stream=reader),
                batch_size=1,
                batch_format="pandas",
                compute=ray.data.TaskPoolStrategy(size=readers),
                **held,
            )
            arriving: Iterator[Any] = iter(
                parts.iter_batches(
                    batch_size=None, batch_format="pyarrow", prefetch_batches=readers
                )
            )
            # The copy that puts a chunk in order also frees the object store of it: a rank waits
            # with a chunk of each of its lanes, which would make a small one spill.
            yield from map(in_order, arriving)


@functools.cache
def _unhurried() -> type:
    """What makes Ray Data's scheduling loop rest.

    The loop runs in the rank, and waits only for tasks that have nothing to hand over. Where what
    is read fills its share of the object store, tasks have ended or hold what may not be taken yet:
    then it turns without a pause, which took more than half a core of every rank, and the
    interpreter's lock with it (a step of 340 ms in the place of 150, two ranks on two cores).
    While batches lie ready it may rest long; else a chunk should pass soon, in a few turns.
    """
    from ray.data._internal.execution.execution_callback import ExecutionCallback

    class Unhurried(ExecutionCallback):
        def on_execution_step(self, executor: Any) -> None:
            time.sleep(SHORT_PAUSE_S if executor._consumer_idling() else PAUSE_S)

    return Unhurried


def _read_item(items: Any, stream: SampleStream) -> pa.Table:
    """Ray Data's side of `read_takes`; `items` is a pandas frame of one row."""
    return stream.read_takes(items["chunk"].iloc[0], items["refs"].iloc[0])


def in_order(part: pa.Table) -> pa.Table:
    """A copy of a whole chunk, its rows in the order in which they are used."""
    places = part[PLACE].to_numpy()
    order = np.argsort(places)
    assert (places[order] == np.arange(len(part))).all(), "a part of a chunk, or several"
    return part.drop_columns([PLACE]).take(order)


def rebatch(
    parts: Iterable[pa.Table], lanes: Sequence[int], samples_per_lane: int, steps: int
) -> Iterator[pa.Table]:
    """Exactly `steps` tables of `samples_per_lane` rows from each lane, in lane order.

    `parts` carry their lane in a column and come in the order of need, in
    pieces of any size (Ray Data may merge or split blocks).
    """
    parts = iter(parts)
    waiting: dict[int, deque[pa.Table]] = {lane: deque() for lane in lanes}
    rows = dict.fromkeys(lanes, 0)
    for _ in range(steps):
        for lane in lanes:
            while rows[lane] < samples_per_lane:
                for lane_rows in _by_lane(next(parts)):
                    owner = lane_rows[LANE][0].as_py()
                    waiting[owner].append(lane_rows)
                    rows[owner] += len(lane_rows)
        batch = []
        for lane in lanes:
            needed = samples_per_lane
            while needed:
                table = waiting[lane].popleft()
                batch.append(table.slice(0, needed))
                if len(table) > needed:
                    waiting[lane].appendleft(table.slice(needed))
                needed -= min(needed, len(table))
            rows[lane] -= samples_per_lane
        yield pa.concat_tables(batch).drop_columns([LANE])


def _by_lane(part: pa.Table) -> Iterator[pa.Table]:
    """Cut a part where the lane changes."""
    lanes = part[LANE].to_numpy()
    edges = [0, *(np.flatnonzero(np.diff(lanes)) + 1), len(lanes)]
    for first, last in itertools.pairwise(edges):
        if last > first:
            yield part.slice(first, last - first)
