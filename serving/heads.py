"""Heads of HTTP requests that arrive in time, or not at all.

The gate bounds how long a body may take, but it is asked only when a request's head is whole, and
for that uvicorn waits as long as a client likes. So connections are closed here whose head does
not arrive.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http import auto
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: A connection whose next head has begun, or whose first has not, is closed after so many seconds.
HEAD_S = 10.0

_LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class PromptHead(HttpToolsProtocol):
    """uvicorn's connection, which does not wait for a head for ever."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._wait()

    def on_headers_complete(self) -> None:
        self._wait_no_more()
        super().on_headers_complete()

    def _wait(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(HEAD_S, self._give_up)

    def _wait_no_more(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._late = None
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait()  # the request before it is still being answered
            return
        self.transport.write(_LATE)
        self.transport.close()


def bound_heads() -> None:
    """Let servers that uvicorn makes in this process wait for heads no longer than that."""
    auto.AutoHTTPProtocol = PromptHead
