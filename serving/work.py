"""Work in threads, as much of it as fits: what does not is answered 429 at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TypeVar

from serving.problems import Problem

T = TypeVar("T")


class Bounded:
    """Some threads and a queue before them.

    Args:
        what: is done, in the plural, for whoever is refused.
        threads: how many work at once.
        most: how many may be at work or wait.
        retry_s: when to ask again.
    """

    def __init__(self, what: str, threads: int, most: int, retry_s: int) -> None:
        self.what, self.most, self.retry_s = what, most, retry_s
        self.wanted = 0
        self._threads = ThreadPoolExecutor(threads, what)

    async def do(self, work: Callable[[], T]) -> T:
        """What `work` gives. Whoever leaves before its turn is taken out of the queue.

        Raises:
            Problem: too many wait already.
        """
        if self.wanted >= self.most:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{self.wanted} {self.what} are at work or wait already",
                {"retry-after": str(self.retry_s)},
            )
        self.wanted += 1
        future = self._threads.submit(work)
        future.add_done_callback(self._done)
        return await asyncio.wrap_future(future)

    def _done(self, _: object) -> None:
        self.wanted -= 1
