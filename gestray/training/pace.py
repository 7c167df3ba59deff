"""How fast a training goes, and how much memory it takes."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch


@dataclass
class Pace:
    """How fast training goes, since the last row; what it stands still for is left out.

    Steps are timed as the process sees them: a GPU may be a few of them behind.
    """

    waited: float = 0.0
    steps: int = 0
    began: float = 0.0
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=200))

    def start(self) -> None:
        self.began, self.waited, self.steps = time.monotonic(), 0.0, 0

    def stepped(self, seconds: float) -> None:
        self.steps += 1
        self.seconds.append(seconds)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The time of the block counts for nothing."""
        at = time.monotonic()
        yield
        self.began += time.monotonic() - at

    def figures(self, samples: int) -> dict[str, float]:
        """Of the steps since the last row, each of so many samples; percentiles of the last 200."""
        elapsed = time.monotonic() - self.began
        p50, p95 = np.percentile(self.seconds, [50, 95]) * 1000
        found = {
            "samples_per_s": self.steps * samples / elapsed,
            "wait_share": self.waited / elapsed,
            "step_ms_p50": float(p50),
            "step_ms_p95": float(p95),
        }
        self.start()
        return found


def memory_mb(device: torch.device) -> float:
    """Most memory held so far: the device's, or where it is the CPU this process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
