"""The order of samples: exact, balanced, and the same for every number of workers."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gestray.errors import UserError
from gestray.views.batching import BatchPlan, _deal

counts = st.lists(st.integers(0, 40), min_size=1, max_size=30).filter(lambda c: sum(c) > 0)


def samples(plan: BatchPlan, lanes: range, first: int, steps: int) -> dict[int, list]:
    """Samples by lane for some steps, as a reader would take them from the chunks."""
    found: dict[int, list] = {lane: [] for lane in lanes}
    for chunk in plan.chunks(lanes, first, steps):
        found[chunk.lane] += zip(chunk.takes, chunk.samples, strict=True)
    size = plan.samples_per_lane * steps
    return {lane: rows[:size] for lane, rows in found.items()}


@settings(max_examples=60, deadline=None)
@given(counts, st.integers(0, 5), st.sampled_from([1, 7, 256]))
def test_workers_share_the_global_batch_of_one_worker(counts, seed, pool):
    plan = BatchPlan(tuple(counts), batch_size=16, lanes=8, seed=seed, pool=pool)
    alone = samples(plan, plan.lanes_of(0, 1), 0, 5)
    for workers in (2, 4, 8):
        shared: dict[int, list] = {}
        for rank in range(workers):
            shared |= samples(plan, plan.lanes_of(rank, workers), 0, 5)
        assert shared == alone


@settings(max_examples=60, deadline=None)
@given(counts, st.integers(0, 9), st.integers(1, 6))
def test_a_resumed_run_goes_on_where_it_was(counts, first, steps):
    plan = BatchPlan(tuple(counts), batch_size=16, lanes=8, seed=3, pool=10)
    lanes = plan.lanes_of(0, 1)
    whole = samples(plan, lanes, 0, first + steps)
    rest = samples(plan, lanes, first, steps)
    skipped = first * plan.samples_per_lane
    assert {lane: rows[skipped:] for lane, rows in whole.items()} == rest


def test_every_sample_is_seen_once_before_any_is_seen_twice_more():
    plan = BatchPlan(tuple([13] * 24), batch_size=8, lanes=4, seed=1, pool=20)
    epoch = sum(plan.counts) // plan.batch_size
    seen: dict[tuple[int, int], int] = {}
    for rows in samples(plan, plan.lanes_of(0, 1), 0, 3 * epoch).values():
        for row in rows:
            sample = (row[0], row[1] % 13)
            seen[sample] = seen.get(sample, 0) + 1
    assert len(seen) == sum(plan.counts)
    assert set(seen.values()) <= {2, 3, 4}  # three epochs, lanes may drift by part of one


def test_a_single_take_is_dealt_to_all_lanes():
    plan = BatchPlan((104,), batch_size=8, lanes=8, seed=0)
    epoch = samples(plan, plan.lanes_of(0, 1), 0, 13)
    assert {row for lane in epoch.values() for row in lane} == {(0, n) for n in range(104)}


def test_fewer_samples_than_lanes_still_make_full_batches():
    plan = BatchPlan((2, 1), batch_size=8, lanes=8, seed=0)
    rows = samples(plan, plan.lanes_of(0, 1), 0, 4)
    assert all(len(lane) == 4 for lane in rows.values())


def test_the_seed_changes_the_order():
    a, b = (BatchPlan((50, 50), batch_size=8, lanes=2, seed=seed) for seed in (0, 1))
    assert samples(a, a.lanes_of(0, 1), 0, 3) != samples(b, b.lanes_of(0, 1), 0, 3)


@pytest.mark.parametrize(
    ("counts", "batch_size", "message"),
    [((5,), 12, "set batch_size to 16"), ((0, 0), 16, "no take has a sample")],
)
def test_impossible_plans_say_what_to_change(counts, batch_size, message):
    with pytest.raises(UserError, match=message):
        BatchPlan(counts, batch_size, lanes=8)


def test_a_worker_count_that_does_not_divide_the_lanes_is_refused():
    with pytest.raises(UserError, match="multiple of 3"):
        BatchPlan((5,), 8, lanes=8).lanes_of(0, 3)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=9), st.integers(1, 50), st.integers(0, 3))
def test_chunks_are_bounded_however_long_the_takes(counts, pool, seed):
    """What is read at once, and so the memory of a reader, does not grow with the recordings."""
    assume(sum(counts))
    plan = BatchPlan(tuple(counts), batch_size=8, lanes=4, seed=seed, pool=pool)
    sizes = [len(chunk) for lane in range(4) for chunk in islice(plan.lane(lane), 8)]
    assert all(pool <= size < 3 * pool for size in sizes)


@settings(max_examples=60, deadline=None)
@given(counts, st.integers(0, 3), st.integers(1, 50))
def test_an_epoch_deals_every_sample_once_and_lanes_are_even(counts, seed, pool):
    plan = BatchPlan(tuple(counts), batch_size=8, lanes=4, seed=seed, pool=pool)
    dealt = _deal(plan, 1)
    samples = [
        pair
        for lane in dealt
        for part in lane
        for pair in zip(part.takes, part.samples, strict=True)
    ]
    # Of epoch 1, so numbers go on from where those of epoch 0 ended.
    expected = [(t, count + n) for t, count in enumerate(counts) for n in range(count)]
    assert sorted(samples) == expected
    sizes = [sum(map(len, lane)) for lane in dealt]
    assert max(sizes) - min(sizes) <= max(min(max(counts), pool), 1)


def with_lengths(counts: list[int], seed: int, pool: int = 256) -> BatchPlan:
    """A plan of samples whose lengths are drawn at random."""
    random = np.random.default_rng(seed)
    lengths = tuple(tuple(random.integers(20, 240, count).tolist()) for count in counts)
    return BatchPlan(tuple(counts), 32, lanes=4, seed=seed, pool=pool, lengths=lengths)


@settings(max_examples=60, deadline=None)
@given(counts, st.integers(0, 5), st.sampled_from([7, 256]))
def test_ordering_by_length_changes_no_pool_and_depends_on_no_worker_count(counts, seed, pool):
    """Chunk by chunk the samples are those of the plan without lengths."""
    plan = with_lengths(counts, seed, pool)
    plain = replace(plan, lengths=None)
    for lane in range(plan.lanes):
        for chunk, other in zip(
            islice(plan.lane(lane), 5), islice(plain.lane(lane), 5), strict=True
        ):
            pairs, others = (sorted(zip(c.takes, c.samples, strict=True)) for c in (chunk, other))
            assert pairs == others
    alone = samples(plan, plan.lanes_of(0, 1), 0, 7)
    shared = samples(plan, plan.lanes_of(0, 2), 0, 7) | samples(plan, plan.lanes_of(1, 2), 0, 7)
    assert shared == alone
    rest = samples(plan, plan.lanes_of(0, 1), 3, 4)
    assert {lane: rows[3 * plan.samples_per_lane :] for lane, rows in alone.items()} == rest


def padding(plan: BatchPlan, lengths, steps: int) -> float:
    """Share of padded batches that is padding."""
    frames = padded = 0
    for step in range(steps):
        sizes = [lengths[take][number] for take, number in plan.samples(step, 1)]
        frames += sum(sizes)
        padded += max(sizes) * len(sizes)
    return 1 - frames / padded


def test_ordering_by_length_saves_most_of_the_padding():
    """Of uniform lengths 20 to 240 in batches of 32, padding is near a half; then a tenth."""
    plan = with_lengths([60] * 80, seed=2)
    assert padding(replace(plan, lengths=None), plan.lengths, 60) > 0.4
    assert padding(plan, plan.lengths, 60) < 0.12
