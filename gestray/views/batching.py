"""Which sample goes into which batch: exact, seeded, the same for any number of workers.

Data-parallel training deadlocks when one rank runs out of batches before the
others, and cannot be compared across worker counts when each worker shuffles
for itself. Both are avoided by deciding the order beforehand:

- A global batch is drawn from `lanes`, each giving `batch_size / lanes` samples.
- Each epoch deals the takes, in a new random order, to the lanes so that these
  are about equally long. A lane shuffles its samples within pools of a few
  takes and never ends: the next epoch follows on. So there are no short
  batches and no dropped tails.
- Where lengths are given, samples of a pool that are alike in length come in one batch.
- A rank owns `lanes / workers` neighbouring lanes. The global batch of a step
  is the same for every worker count that divides `lanes`, and each take is
  read by one rank only.

The order is a pure function of (sample counts, settings): a resumed run needs
nothing but its step number.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gestray.errors import UserError

# A run of samples of one take: (take, first sample, one past the last).
_Piece = tuple[int, int, int]

_GOLDEN_RATIO = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Chunk:
    """Samples that are read together, in the order in which they are used.

    Args:
        lane: the lane they belong to.
        takes: index of the take of each sample.
        samples: number of each sample within its take. Numbers go on from epoch to
            epoch: of a take with 10 samples, 23 is sample 3 of epoch 2.
    """

    lane: int
    takes: tuple[int, ...]
    samples: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.takes)


@dataclass(frozen=True)
class BatchPlan:
    """The order of samples for training.

    Args:
        counts: number of samples of each take.
        batch_size: samples in a global batch.
        lanes: number of lanes; divides `batch_size`.
        seed: of all shuffling.
        pool: about how many samples are shuffled together, and read as one chunk;
            never three times as many, however long the takes.
        lengths: of each sample of each take. A batch of like lengths needs little padding.
    """

    counts: tuple[int, ...]
    batch_size: int
    lanes: int = 8
    seed: int = 0
    pool: int = 256
    lengths: tuple[tuple[int, ...], ...] | None = None

    def __post_init__(self) -> None:
        if self.batch_size % self.lanes:
            raise UserError(
                f"batch_size {self.batch_size} is not a multiple of lanes {self.lanes}; "
                f"set batch_size to {math.ceil(self.batch_size / self.lanes) * self.lanes}"
            )
        if sum(self.counts) == 0:
            raise UserError(
                "no take has a sample for training; expected takes of this split "
                "with motion (and, for phrases, words) long enough for the view"
            )

    @property
    def samples_per_lane(self) -> int:
        """Samples that each lane gives to one global batch."""
        return self.batch_size // self.lanes

    def active(self, workers: int) -> int:
        """How many of so many workers can share the lanes evenly; the others wait."""
        return max(count for count in range(1, workers + 1) if self.lanes % count == 0)

    def lanes_of(self, rank: int, workers: int) -> range:
        """The lanes a rank owns."""
        if self.lanes % workers:
            raise UserError(
                f"lanes {self.lanes} is not a multiple of the {workers} workers; "
                f"set loop.lanes (and batch_size) to a multiple of {workers}"
            )
        share = self.lanes // workers
        return range(rank * share, (rank + 1) * share)

    def lane(self, lane: int) -> Iterator[Chunk]:
        """The endless stream of a lane, in chunks of at least `pool` samples.

        Where an epoch has fewer for the lane, a chunk spans several: reading
        stays cheap on the smallest corpus.
        """
        takes: list[int] = []
        samples: list[int] = []
        given = 0
        for epoch in itertools.count():
            for pool in _deal(self, epoch)[lane]:
                if self.lengths is not None:
                    pool = _by_length(self, pool, given)
                    given += len(pool)
                takes += pool.takes
                samples += pool.samples
                if len(takes) >= self.pool:
                    yield Chunk(lane, tuple(takes), tuple(samples))
                    takes, samples = [], []

    def chunks(self, lanes: Sequence[int], first_step: int, steps: int) -> Iterator[Chunk]:
        """Chunks for the steps `first_step … first_step + steps - 1`, in order of need.

        What earlier steps used up is left out.
        """
        streams = {lane: self.lane(lane) for lane in lanes}
        skip = dict.fromkeys(lanes, first_step * self.samples_per_lane)
        ready = dict.fromkeys(lanes, 0)
        for _ in range(steps):
            for lane in lanes:
                while ready[lane] < self.samples_per_lane:
                    chunk = next(streams[lane])
                    used = min(skip[lane], len(chunk))
                    skip[lane] -= used
                    if used < len(chunk):
                        chunk = Chunk(lane, chunk.takes[used:], chunk.samples[used:])
                        ready[lane] += len(chunk)
                        yield chunk
                ready[lane] -= self.samples_per_lane

    def samples(self, first_step: int, steps: int) -> list[tuple[int, int]]:
        """What makes these steps' global batches, as (take, number of the sample in it)."""
        found: dict[int, list[tuple[int, int]]] = {lane: [] for lane in range(self.lanes)}
        for chunk in self.chunks(range(self.lanes), first_step, steps):
            found[chunk.lane] += [
                (take, number % self.counts[take])
                for take, number in zip(chunk.takes, chunk.samples, strict=True)
            ]
        size = self.samples_per_lane * steps
        return [sample for lane in found.values() for sample in lane[:size]]


@functools.lru_cache(maxsize=4)
def _deal(plan: BatchPlan, epoch: int) -> list[list[Chunk]]:
    """The pools of each lane in one epoch: every sample exactly once."""
    random = np.random.default_rng([plan.seed, epoch])
    counts = np.asarray(plan.counts)
    share = math.ceil(sum(plan.counts) / plan.lanes)
    # Where samples are fewer than lanes, other lanes go without in each epoch.
    lanes = random.permutation(plan.lanes)
    pieces: list[list[_Piece]] = [[] for _ in lanes]
    load = np.zeros(plan.lanes, dtype=np.int64)
    # A take longer than a lane's share, or than a pool, is dealt in pieces.
    longest = min(share, plan.pool)
    for take in random.permutation(len(plan.counts)):
        for first in range(0, plan.counts[take], longest):
            last = min(first + longest, plan.counts[take])
            emptiest = int(np.argmin(load))
            load[emptiest] += last - first
            pieces[lanes[emptiest]].append((int(take), first, last))
    return [
        [_shuffled(lane, pool, counts * epoch, random) for pool in _pools(dealt, plan.pool)]
        for lane, dealt in enumerate(pieces)
    ]


def _pools(pieces: list[_Piece], at_least: int) -> Iterator[list[_Piece]]:
    pool: list[_Piece] = []
    size = 0
    for piece in pieces:
        pool.append(piece)
        size += piece[2] - piece[1]
        if size >= at_least:
            yield pool
            pool, size = [], 0
    if size:
        yield pool


def _shuffled(
    lane: int, pool: list[_Piece], numbered_before: np.ndarray, random: np.random.Generator
) -> Chunk:
    takes = np.concatenate([np.full(last - first, take) for take, first, last in pool])
    samples = np.concatenate([np.arange(first, last) for _, first, last in pool])
    samples += numbered_before[takes]
    order = random.permutation(len(takes))
    return Chunk(lane, tuple(takes[order].tolist()), tuple(samples[order].tolist()))


def _by_length(plan: BatchPlan, pool: Chunk, given: int) -> Chunk:
    """The pool in another order: samples of like length in one step, at like steps in all lanes.

    Every step has a place between short and long, the same for all lanes, and gets
    those samples of the pool that have this place among them. Places follow the golden
    ratio: of any run of steps they lie evenly, so lanes agree although their pools begin
    and end at different steps.

    Args:
        pool: shuffled.
        given: samples that the lane gave before it.
    """
    lengths = plan.lengths
    assert lengths is not None
    steps = (given + np.arange(len(pool))) // plan.samples_per_lane
    places = (steps * _GOLDEN_RATIO + plan.seed * 0.5**0.5) % 1
    pairs = zip(pool.takes, pool.samples, strict=True)
    sizes = [lengths[take][number % plan.counts[take]] for take, number in pairs]
    order = np.empty(len(pool), dtype=np.int64)
    order[np.argsort(places, kind="stable")] = np.argsort(sizes, kind="stable")
    takes, samples = np.asarray(pool.takes)[order], np.asarray(pool.samples)[order]
    return Chunk(pool.lane, tuple(takes.tolist()), tuple(samples.tolist()))
