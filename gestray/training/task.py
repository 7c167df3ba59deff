"""What a model author writes: a `Task`. The loop does everything else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

if TYPE_CHECKING:
    import torch
    from torch import nn

    from gestray.views.view import View

Batch = dict[str, Any]


class Task(Protocol):
    """A model and how it learns. A task is picklable: it travels to every worker.

    Nothing in a task knows of Ray, ranks or devices, with one exception: a loss
    over the whole global batch gathers it with `gestray.training.distributed`.
    """

    def view(self, split: str = "train") -> View:
        """The view that samples of a split are cut with."""

    def build(self) -> nn.Module:
        """The untrained model; called with the random state already seeded."""

    def start(self, model: nn.Module, batches: Iterator[Batch]) -> None:
        """Prepare the untrained model from the rank's first batches, which training sees again.

        Draws as many of `batches` as it wants, the same number on every rank; nothing,
        where a model starts from random weights alone.
        """

    def compiled(self, model: nn.Module) -> Iterable[nn.Module]:
        """The modules of the model that are worth compiling: tensors in, tensors out."""

    def collate(self, rows: pa.Table) -> Batch:
        """Tensors of one local batch, on the CPU."""

    def loss(
        self, model: nn.Module, batch: Batch, step: int
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss to minimise (mean over the batch), and its parts for the log.

        All randomness that must be the same on every rank is drawn from a
        generator seeded by `step`, the number of forward passes before this one.
        """
