"""Refusals that take their time.

A client that asks again the moment it was refused costs as much as one that is answered: a
hundred such keep a proxy so busy with saying no that those who were let in wait behind them. So
a 429 is held for a while before it is sent. Who does as `Retry-After` says loses nothing by that.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Less than `Retry-After`, which is whole seconds.
HELD_S = 0.8
#: Answers that are held at once; of a greater crowd the rest is refused without delay.
MOST_HELD = 2048


class HeldRefusals:
    """ASGI middleware: answers 429 of the application within are sent `HELD_S` later."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message.get("status") == HTTPStatus.TOO_MANY_REQUESTS and self.held < MOST_HELD:
                self.held += 1
                try:
                    await asyncio.sleep(HELD_S)
                finally:
                    self.held -= 1
            await send(message)

        await self.app(scope, receive, sending)
