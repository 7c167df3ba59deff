"""Streams: the planned samples in the planned order, however they are read."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
import pytest

from gestray.corpora.take import motion_from_column
from gestray.views import stream as stream_module
from gestray.views.batching import BatchPlan
from gestray.views.catalog import read_catalog, read_columns
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
