"""The server of a study: a desk, behind tokens, and the page in front of it.

A link carries the participant's token behind the `#` of the address, where no server and no log
sees it; the page sends it as `Authorization: Bearer …`. Without one there is nothing to be had
but the page itself.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gestray.errors import UserError
from serving.gate import HEADERS
from serving.pages import mount_assets
from serving.study.desk import Desk

PAGE = Path(__file__).parent / "page"
MOST_BYTES = 4096


class Headed:
    """Answers with the headers of all pages; nothing that is answered here may be kept."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in (*HEADERS.items(), ("cache-control", "no-store")):
                    headers.setdefault(name, value)
            await send(message)

        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        await self._app(scope, receive, sending)


def make_app(desk: Desk) -> ASGIApp:
    """The application of one study."""

    def who(request: Request) -> int:
        """The participant who asks.

        Raises:
            HTTPException: nobody with this token takes part.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        number = desk.participant(token) if scheme.lower() == "bearer" else None
        if number is None:
            raise HTTPException(401, "open the whole link that you were sent")
        return number

    def placed(request: Request) -> tuple[int, int]:
        """Participant and place; a place beyond the last is not found."""
        number, place = who(request), request.path_params["place"]
        if place >= len(desk.sheet(number).shown):
            raise HTTPException(404, "there is no such pair")
        return number, place

    def session(request: Request) -> Response:
        return JSONResponse(desk.session(who(request)))

    def pair(request: Request) -> Response:
        return JSONResponse(desk.pair(*placed(request)))

    def motion(request: Request) -> Response:
        number, place = placed(request)
        side = request.path_params["side"]
        if side not in ("left", "right"):
            raise HTTPException(404, "there is no such side")
        found = desk.motion(number, place, side)
        return Response(found, media_type="application/octet-stream")

    def audio(request: Request) -> Response:
        found = desk.audio(*placed(request))
        if found is None:
            raise HTTPException(404, "nothing is heard with this pair")
        return Response(found, media_type="audio/wav")

    async def answer(request: Request) -> Response:
        number, place = await run_in_threadpool(placed, request)
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MOST_BYTES:
                raise HTTPException(413, f"an answer has at most {MOST_BYTES} bytes")
        return JSONResponse(await run_in_threadpool(desk.answer, number, place, body))

    def refuse(_request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, 422)

    def problem(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse({"detail": error.detail}, error.status_code)

    handlers: dict[Any, Any] = {UserError: refuse, HTTPException: problem}
    app = Starlette(
        routes=[
            Route("/api/session", session),
            Route("/api/pairs/{place:int}", pair, methods=["GET"]),
            Route("/api/pairs/{place:int}", answer, methods=["PUT"]),
            Route("/api/pairs/{place:int}/audio", audio),
            Route("/api/pairs/{place:int}/{side}", motion),
        ],
        exception_handlers=handlers,
    )
    mount_assets(app)
    app.routes.append(Mount("/", StaticFiles(directory=PAGE, html=True)))
    return Headed(app)


def serve(desk: Desk, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve a study until the process is interrupted (SIGINT, Ctrl-C).

    Args:
        desk: what is served.
        host: address to listen on; who may take part is said by tokens, wherever it is.
        port: 0 takes a free one.
        ready: told the address, before the first request is taken.

    Raises:
        UserError: the address cannot be used.
    """
    import uvicorn

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            raise UserError(
                f"port {port} of {host} cannot be used ({error}): name another"
            ) from None
        listening.listen()
        shown = f"[{host}]" if ":" in host else host
        ready(f"http://{shown}:{listening.getsockname()[1]}/")
        config = uvicorn.Config(
            make_app(desk),
            access_log=False,
            log_level="warning",
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        with contextlib.suppress(KeyboardInterrupt):  # which uvicorn raises again at its end
            uvicorn.Server(config).run(sockets=[listening])
