"""Recent motions, and files made of them: kept for a while, in bounded memory.

A motion is asked for again soon after it was made: to be played, then as a file. It is no
artifact and nobody's to keep: what is over or does not fit any more is gone, the least recently
asked for first.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass
class _Item:
    value: Any
    size: int
    until: float


class Shelf:
    """Values by key, each for `kept_s` since it was last asked for, together `most_bytes`."""

    def __init__(
        self, most_bytes: int, kept_s: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.most_bytes, self.kept_s, self._now = most_bytes, kept_s, now
        self._items: OrderedDict[str, _Item] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        self._drop_old()
        return len(self._items)

    def put(self, key: str, value: Any, size: int) -> bool:
        """Keep a value; whether it fits at all."""
        self.drop(key)
        if size > self.most_bytes:
            return False
        self._items[key] = _Item(value, size, self._now() + self.kept_s)
        self.bytes += size
        self._drop_old()
        while self.bytes > self.most_bytes:
            self.drop(next(iter(self._items)))
        return True

    def get(self, key: str) -> Any:
        """The value; None where there is none, or no longer."""
        self._drop_old()
        item = self._items.get(key)
        if item is None:
            return None
        # The order is that of `until` as well, since all are kept equally long.
        item.until = self._now() + self.kept_s
        self._items.move_to_end(key)
        return item.value

    def drop(self, key: str) -> None:
        """Forget a value, if there is one."""
        item = self._items.pop(key, None)
        if item is not None:
            self.bytes -= item.size

    def _drop_old(self) -> None:
        now = self._now()
        while self._items and next(iter(self._items.values())).until <= now:
            self.drop(next(iter(self._items)))
