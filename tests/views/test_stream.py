"""Streams: the planned samples in the planned order, however they are read."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from gestray.corpora.take import motion_from_column
from gestray.views import stream as stream_module
from gestray.views.batching import BatchPlan
from gestray.views.catalog import _open_shard, read_catalog, read_columns
from gestray.views.phrases import PhraseConfig, Phrases
from gestray.views.stream import LANE, SampleStream, rebatch
from gestray.views.windows import WindowConfig, Windows


def stream(takes, view, batch_size=16, **plan) -> SampleStream:
    catalog = tuple(read_catalog(takes))
    counts = tuple(view.count(ref) for ref in catalog)
    return SampleStream(takes, catalog, view, BatchPlan(counts, batch_size, lanes=8, **plan))


def test_batches_hold_the_planned_samples(takes):
    windows = stream(takes, Windows(WindowConfig(), "train"), pool=8)
    plan = windows.plan
    expected = {lane: [] for lane in range(8)}
    for chunk in plan.chunks(range(8), 0, 5):
        expected[chunk.lane] += zip(chunk.takes, chunk.samples, strict=True)
    for step, batch in enumerate(windows.local_batches(range(8), 0, 5)):
        assert batch.column_names == ["poses"]
        samples = [s for lane in range(8) for s in expected[lane][2 * step : 2 * step + 2]]
        for row, (take, sample) in zip(batch["poses"].to_pylist(), samples, strict=True):
            motion = motion_from_column(
                read_columns(takes, windows.catalog[take], ["poses"])["poses"]
            )
            assert row == motion[20 * sample : 20 * sample + 64].tobytes()


def test_phrases_carry_their_words_and_motion(takes):
    phrases = stream(takes, Phrases(PhraseConfig(), "train"))
    (batch,) = phrases.local_batches(range(8), 0, 1)
    for row in batch.to_pylist():
        frames = len(np.frombuffer(row["poses"], np.float32)) // 165
        assert frames == round((row["end_s"] - row["start_s"]) * 30)
        assert row["text"] and row["split"] == "train"


def test_threads_read_the_same_takes_at_the_same_time(takes):
    refs = read_catalog(takes)
    expected = [read_columns(takes, ref, ["poses"]) for ref in refs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: read_columns(takes, refs[n % 12], ["poses"]), range(240)))
        files = pool.map(lambda n: (time.sleep(0.05), _open_shard(takes, refs[0].shard))[1], "abcd")
    assert all(table.equals(expected[n % 12]) for n, table in enumerate(found))
    assert len(set(map(id, files))) == 4


@pytest.fixture
def read(monkeypatch):
    """Chunks that were read, in order."""
    chunks, whole = [], SampleStream.read_chunk

    def read_chunk(self, chunk, refs):
        chunks.append(chunk)
        return whole(self, chunk, refs)

    monkeypatch.setattr(SampleStream, "read_chunk", read_chunk)
    return chunks


def test_a_thread_reads_a_chunk_of_each_lane_ahead(takes, read):
    windows = stream(takes, Windows(WindowConfig(), "train"), pool=8)
    batches = windows.local_batches(range(8), 0, 1000)
    next(batches)
    until = time.monotonic() + 30
    while len(read) < 16 and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.2)
    assert len(read) == 16
    assert read == list(windows.plan.chunks(range(8), 0, 1000))[:16]
    batches.close()


def test_reading_ahead_ends_with_the_reader(takes, read, monkeypatch):
    windows = stream(takes, Windows(WindowConfig(), "train"), pool=8)
    counted = SampleStream.read_chunk

    def slowly(self, chunk, refs):
        time.sleep(0.1)
        return counted(self, chunk, refs)

    monkeypatch.setattr(SampleStream, "read_chunk", slowly)
    batches = windows.local_batches(range(8), 0, 1000)
    next(batches)
    batches.close()
    until = len(read) + 1  # the chunk that it is at
    time.sleep(0.6)
    assert len(read) <= until


def test_what_goes_wrong_ahead_is_told_where_it_is_wanted(takes, read, monkeypatch):
    windows = stream(takes, Windows(WindowConfig(), "train"), pool=8)
    cut = Windows.cut

    def fail_at_last(self, *args):
        if len(read) == 12:
            raise OSError("the disk is gone")
        return cut(self, *args)

    monkeypatch.setattr(Windows, "cut", fail_at_last)
    batches, got = windows.local_batches(range(8), 0, 1000), 0
    with pytest.raises(OSError, match="the disk is gone"):
        for _ in batches:
            got += 1
    assert got > 0


@pytest.mark.ray
@pytest.mark.parametrize("first", [0, 7])
def test_ray_reads_the_same_batches_in_the_same_order(takes, ray_cluster, first):
    windows = stream(takes, Windows(WindowConfig(), "train"), pool=8, seed=2)
    lanes = windows.plan.lanes_of(1, 2)
    local = list(windows.local_batches(lanes, first, 12))
    streamed = list(windows.ray_batches(lanes, first, 12, readers=2))
    assert len(streamed) == 12
    assert all(a.equals(b) for a, b in zip(local, streamed, strict=True))


@pytest.fixture
def turns(monkeypatch):
    """When Ray Data's scheduling loop turned."""
    seen = []
    unhurried = stream_module._unhurried()
    rest = unhurried.on_execution_step
    monkeypatch.setattr(
        unhurried, "on_execution_step", lambda *args: (rest(*args), seen.append(time.monotonic()))
    )
    return seen


@pytest.mark.ray
def test_reading_ahead_rests_while_nothing_is_read_yet(takes, ray_cluster, turns):
    windows = stream(takes, Windows(WindowConfig(), "train"), pool=8)
    for _ in windows.ray_batches(range(8), 0, 100):
        pass
    assert min(np.diff(turns)) >= stream_module.SHORT_PAUSE_S


@pytest.mark.ray
def test_reading_ahead_rests_while_training_is_busy(takes, ray_cluster, turns):
    """Ray Data's loop, which runs in the rank, has no pause of its own."""
    windows = stream(takes, Windows(WindowConfig(), "train"), pool=8)
    batches = windows.ray_batches(range(8), 0, 200)
    for _ in range(3):
        next(batches)
    time.sleep(1.0)  # what is read ahead fills up
    began, before = time.monotonic(), len(turns)
    time.sleep(1.0)
    assert len(turns) - before <= (time.monotonic() - began) / stream_module.PAUSE_S + 1
    batches.close()


def test_blocks_of_any_size_make_exact_batches():
    lanes = np.array([0] * 5 + [1] * 7 + [0] * 9 + [1] * 3, np.int32)
    whole = pa.table({"n": np.arange(len(lanes)), LANE: lanes})
    wanted = None
    for size in (1, 2, 5, 24):
        parts = [whole.slice(start, size) for start in range(0, len(whole), size)]
        batches = [batch["n"].to_pylist() for batch in rebatch(iter(parts), [0, 1], 3, 3)]
        assert all(len(batch) == 6 for batch in batches)
        wanted = wanted or batches
        assert batches == wanted
    assert wanted[0] == [0, 1, 2, 5, 6, 7]
    assert wanted[2] == [13, 14, 15, 11, 21, 22]
