"""The validation loss: of fixed batches of the val split, and never of test data.

One rank computes it while the others wait, so that it is the same figure for any
number of workers: what a contrastive loss is depends on the size of its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from gestray.errors import UserError
from gestray.training.config import LoopConfig
from gestray.training.distributed import alone
from gestray.training.task import Batch, Task
from gestray.views.batching import Chunk
from gestray.views.stream import LANE, SampleStream

SPLIT = "val"


def validation_chunks(
    counts: tuple[int, ...], size: int, batches: int, seed: int
) -> tuple[Chunk, ...]:
    """Batches of samples spread evenly over the takes, each sample at most once.

    Args:
        counts: samples of each take.
        size: samples of a batch; all there are, if these are fewer.
        batches: their number; as many as can be filled, if these are fewer.
        seed: of what comes together in a batch.

    Raises:
        UserError: no take has a sample.
    """
    total = sum(counts)
    if not total:
        raise UserError(
            "loop.validate_every is set, but no take of the split 'val' has a sample; ingest a "
            "corpus with a val split (without split=time:F, takes are dealt 80/10/10), or set "
            "loop.validate_every=null, loop.patience=null and loop.keep=last"
        )
    size = min(size, total)
    batches = min(batches, total // size)
    takes = np.repeat(np.arange(len(counts)), counts)
    samples = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    spread = np.arange(size * batches) * total // (size * batches)
    chosen = np.random.default_rng(seed).permutation(spread)
    return tuple(
        Chunk(0, tuple(takes[part].tolist()), tuple(samples[part].tolist()))
        for part in np.split(chosen, batches)
    )


@dataclass(frozen=True)
class ValidationData:
    """The batches that every validation of a run reads.

    Args:
        stream: the validation samples.
        chunks: those of each batch.
    """

    stream: SampleStream
    chunks: tuple[Chunk, ...]

    def tables(self) -> Iterator[pa.Table]:
        """The rows of each batch."""
        for chunk in self.chunks:
            yield self.stream.read_chunk(chunk, self.stream.catalog).drop_columns([LANE])


@dataclass
class Validation:
    """Mean losses over `ValidationData`, whose batches are read once and kept on the CPU."""

    task: Task
    data: ValidationData
    config: LoopConfig

    def losses(
        self,
        model: nn.Module,
        to_device: Callable[[Batch], Batch],
        autocast: AbstractContextManager,
    ) -> dict[str, float]:
        """`loss` and its parts, for the calling rank alone; leaves the model in training mode."""
        rows = []
        model.eval()
        with alone(), torch.no_grad(), autocast:
            for batch in self._batches:
                loss, parts = self.task.loss(model, to_device(batch), 0)
                rows.append(torch.stack([loss, *parts.values()]).double().cpu())
        model.train()
        means = torch.stack(rows).mean(0).tolist()
        return dict(zip(["loss", *parts], means, strict=True))

    @cached_property
    def _batches(self) -> list[Batch]:
        return [self.task.collate(table) for table in self.data.tables()]
