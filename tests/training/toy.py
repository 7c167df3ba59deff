"""A task of one small matrix, to see what the loop does with it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from gestray.views.phrases import PhraseConfig, Phrases


@contextmanager
def one_thread() -> Iterator[None]:
    """As Ray's workers compute: sums over several threads round otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass
class Toy:
    """Guesses the mean pose of phrases, in double precision.

    Args:
        val_losses: what validations find, in turn; the last one from then on.
        nan_at: forward pass whose loss is not a number.
        kill_at: forward pass at which the process is killed, where it is the first to build.
        builds: a file that gets a line whenever the model is built.
    """

    val_losses: list[float] = field(default_factory=lambda: [1.0])
    nan_at: int | None = None
    kill_at: int | None = None
    builds: Path | None = None
    seen: list[list[str]] = field(default_factory=list)
    weights: list[torch.Tensor] = field(default_factory=list)
    model: nn.Module | None = None

    def view(self, split="train"):
        return Phrases(PhraseConfig(), split)

    def build(self):
        if self.builds is not None:
            with self.builds.open("a") as file:
                file.write("built\n")
        self.model = nn.Linear(165, 165, dtype=torch.float64)
        return self.model

    def start(self, model, batches):
        pass

    def compiled(self, model):
        return [model]

    def collate(self, rows):
        poses = [
            np.frombuffer(p, np.float32).reshape(-1, 165).mean(0) for p in rows["poses"].to_pylist()
        ]
        self.seen.append(rows["phrase_id"].to_pylist())
        return {"poses": torch.from_numpy(np.stack(poses)).double()}

    def loss(self, model, batch, step):
        loss = (model(batch["poses"]) - batch["poses"]).square().sum(-1).mean()
        if not model.training:
            found = self.val_losses.pop(0) if len(self.val_losses) > 1 else self.val_losses[0]
            return torch.tensor(found, dtype=torch.float64), {}
        if step == self.kill_at and len(self.builds.read_text().splitlines()) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return (loss * float("nan") if step == self.nan_at else loss), {}

    def remember(self, row):
        """For `on_row`: the weights after each step."""
        self.weights.append(self.model.weight.detach().clone())
