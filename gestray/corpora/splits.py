"""Which part of the data a take belongs to: by its corpus, by hash, or in time.

A take's split is one word of `SPLITS`, or ``time:0.8``: the first 80 % of its
own time trains and the rest tests.
"""

from __future__ import annotations

import hashlib
import re

from gestray.errors import UserError

SPLITS = ("train", "val", "test", "additional")

_TIME = re.compile(r"time:(0?\.[0-9]{1,6})")


def parse_split(spec: str | None) -> str | None:
    """A split given by the user, checked: None (as in the corpus) or ``time:F``.

    Raises:
        UserError: anything else, or a fraction F outside (0, 1).
    """
    if spec is not None and _time_fraction(spec) is None:
        raise UserError(
            f"split: found {spec!r}, expected nothing (as in the corpus) or 'time:F' with "
            "0 < F < 1, such as 'time:0.8': the first 80 % of every take trains, the rest tests"
        )
    return spec


def is_split(split: str) -> bool:
    """Whether a take may carry `split`: a name of `SPLITS`, or ``time:F``."""
    return split in SPLITS or _time_fraction(split) is not None


def split_of(take_id: str) -> str:
    """Split of a take whose corpus has none: 80/10/10 train/val/test by a hash of the id.

    It depends on the id alone, so a take keeps its split when others come or go.
    """
    bucket = int.from_bytes(hashlib.sha256(take_id.encode()).digest()[:8], "big") % 10
    return "train" if bucket < 8 else ("val" if bucket == 8 else "test")


def spans(split: str, duration_s: float) -> dict[str, tuple[float, float]]:
    """Parts of a take as {split name: (start_s, end_s)}.

    A plain split is the whole take; ``time:F`` is cut at F of the duration
    into ``train`` and ``test``.

    Raises:
        UserError: `split` is not a split.
    """
    fraction = _time_fraction(split)
    if fraction is not None:
        cut = fraction * duration_s
        return {"train": (0.0, cut), "test": (cut, duration_s)}
    if split not in SPLITS:
        raise UserError(f"split: found {split!r}, expected one of {', '.join(SPLITS)} or 'time:F'")
    return {split: (0.0, duration_s)}


def _time_fraction(split: str) -> float | None:
    match = _TIME.fullmatch(split)
    fraction = float(match[1]) if match else 0.0
    return fraction if fraction > 0 else None
