"""When to ask again: what passes passes, and not everybody comes back at the same moment."""

from __future__ import annotations

import random
from dataclasses import dataclass
from http import HTTPStatus

import httpx

# Of what these mean, nothing lies with the request.
_PASSING = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)


@dataclass(frozen=True)
class Retries:
    """How patient a client is.

    All requests of gestray may be repeated: they read, or make what is forgotten soon.

    Args:
        attempts: how often a request is sent at most; 1 never repeats one.
        first_s: wait after the first attempt, up to; each later one may be twice as long.
        longest_s: no wait is longer, unless the server asks for it.
        patience_s: a wait that the server asks for is not longer than this, or it is an error.
    """

    attempts: int = 6
    first_s: float = 0.25
    longest_s: float = 8.0
    patience_s: float = 60.0

    def wait(self, attempt: int, response: httpx.Response | None) -> float | None:
        """Seconds until the next attempt; None where there is none.

        Args:
            attempt: how many there were.
            response: what the last one was answered; None where the connection failed.
        """
        if attempt >= self.attempts:
            return None
        asked = 0.0
        if response is not None:
            if not _passes(response):
                return None
            asked = _seconds(response.headers.get("retry-after"))
            if asked > self.patience_s:
                return None
        # Full jitter (Brooker 2015): clients that were refused together come back apart.
        backoff = min(self.longest_s, self.first_s * 2 ** (attempt - 1))
        return asked + random.uniform(0, backoff)


def _passes(response: httpx.Response) -> bool:
    if response.status_code in _PASSING:
        return True
    # What gestray itself answers is a problem; another 500 is of a proxy whose replica was lost.
    kind = response.headers.get("content-type", "")
    return response.status_code >= 500 and not kind.startswith("application/problem+json")


def _seconds(retry_after: str | None) -> float:
    try:
        return max(0.0, float(retry_after or 0))
    except ValueError:  # a date: rare, and no answer of gestray
        return 1.0
