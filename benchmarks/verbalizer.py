"""Windows described a second on one core: all at once against one after the other.

    python benchmarks/verbalizer.py --json

Ours is `describe_many` over windows of 64 frames at 30 fps, kinematics included; the
other is a plain loop of the same `describe` over the same windows, one at a time. Windows
are smooth random motions. `also` gives the rate of a tokenizer's codes that were described
before.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from side_by_side import Comparison, alternate, main

from gestray.anchors.primitives import PrimitiveVerbalizer
from gestray.anchors.verbalize import describe, describe_many
from gestray.tokenizers.config import TokenizerConfig
from gestray.tokenizers.model import MotionTokenizer

WINDOWS, FRAMES, FPS = 512, 64, 30


def windows() -> list[np.ndarray]:
    """Windows of arms that gesture: smooth random turns about a raised posture."""
    rng = np.random.default_rng(0)
    time_s = np.arange(FRAMES) / FPS
    hertz = rng.uniform(0.2, 1.5, (WINDOWS, 1, 165))
    phase = rng.uniform(0, 2 * np.pi, (WINDOWS, 1, 165))
    poses = 0.25 * np.sin(2 * np.pi * hertz * time_s[:, None] + phase)
    poses += rng.normal(0, 0.3, (WINDOWS, 1, 165))
    return list(poses.astype(np.float32))


def measure(runs: int) -> Comparison:
    torch.set_num_threads(1)
    clips = windows()

    def rate(work: Callable[[], object]) -> float:
        start = time.perf_counter()
        work()
        return WINDOWS / (time.perf_counter() - start)

    ways = {
        "at once": lambda: rate(lambda: describe_many(clips)),
        "one by one": lambda: rate(lambda: [describe(clip) for clip in clips]),
    }
    alternate(ways, 1)  # warm up
    found = alternate(ways, runs)
    also = {
        "windows": WINDOWS,
        "frames": FRAMES,
        "threads": torch.get_num_threads(),
        "known_codes_per_s": _known_codes(),
    }
    return Comparison(found["at once"], found["one by one"], "windows/s", runs, also)


def _known_codes() -> float:
    """Gestures a second whose codes were described before."""
    config = TokenizerConfig(width=64, code_dim=32)
    verbalizer = PrimitiveVerbalizer(MotionTokenizer(config).eval())
    tokens = FRAMES // config.frames_per_token
    codes = torch.randint(
        config.codebook_size, (WINDOWS, tokens, config.quantizers), generator=torch.Generator()
    ).tolist()
    gestures = [dict.fromkeys(config.parts, rows) for rows in codes]
    verbalizer.describe_many(gestures, [FRAMES] * WINDOWS)
    start = time.perf_counter()
    verbalizer.describe_many(gestures, [FRAMES] * WINDOWS)
    return WINDOWS / (time.perf_counter() - start)


if __name__ == "__main__":
    main("verbalizer", __doc__ or "", measure)
