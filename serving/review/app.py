"""The server of the page: a desk behind a guard, on the loopback."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Callable
from importlib import resources
from typing import TYPE_CHECKING, Any

from gestray.errors import UserError
from serving.review.desk import Desk
from serving.review.guard import Guard

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

HOST = "127.0.0.1"

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def make_app(desk: Desk, token: str, port: int) -> ASGIApp:
    """The application; see `Guard` for who may use it."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    # Read once, and asked for by name: no request becomes a path.
    server = resources.files("serving")
    page = {
        entry.name: (entry.read_bytes(), _TYPES[kind])
        for folder in (server / "assets", server / "review" / "page")
        for entry in folder.iterdir()
        if (kind := entry.name.rpartition(".")[2]) in _TYPES
    }

    def asset(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in page:
            raise HTTPException(404)
        content, media_type = page[name]
        return Response(content, media_type=media_type)

    def session(_request: Request) -> Response:
        return JSONResponse(desk.session())

    def number(request: Request) -> int:
        found = request.path_params["number"]
        if found >= len(desk):
            raise HTTPException(404)
        return found

    def anchor(request: Request) -> Response:
        return JSONResponse(desk.anchor(number(request)))

    def motion(request: Request) -> Response:
        found = desk.motion(number(request))
        if found is None:
            return Response(status_code=204)
        return Response(found, media_type="application/octet-stream")

    async def decide(request: Request) -> Response:
        body = await request.body()
        return JSONResponse(await run_in_threadpool(desk.decide, number(request), body))

    def withdraw(request: Request) -> Response:
        return JSONResponse(desk.withdraw(number(request)))

    async def sentence(request: Request) -> Response:
        return JSONResponse({"sentence": desk.sentence(await request.body())})

    def refuse(_request: Request, error: Exception) -> Response:
        return JSONResponse({"problem": str(error)}, 422)

    handlers: dict[Any, Any] = {UserError: refuse}
    app = Starlette(
        routes=[
            Route("/", asset),
            Route("/page/{name}", asset),
            Route("/api/session", session),
            Route("/api/anchors/{number:int}", anchor, methods=["GET"]),
            Route("/api/anchors/{number:int}", decide, methods=["PUT"]),
            Route("/api/anchors/{number:int}", withdraw, methods=["DELETE"]),
            Route("/api/anchors/{number:int}/motion", motion),
            Route("/api/sentence", sentence, methods=["POST"]),
        ],
        exception_handlers=handlers,
    )
    return Guard(app, token, port)


def serve(desk: Desk, port: int, ready: Callable[[str], None]) -> None:
    """Serve the page until the process is interrupted (SIGINT, Ctrl-C).

    Args:
        desk: what is served.
        port: on the loopback; 0 takes a free one.
        ready: told the address to open, token included, before the first request is taken.

    Raises:
        UserError: the port is taken.
    """
    import uvicorn

    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except OSError as error:
            raise UserError(
                f"port {port} of {HOST} cannot be used ({error}): name another"
            ) from None
        port = listening.getsockname()[1]
        token = secrets.token_urlsafe(24)
        listening.listen()
        ready(f"http://{HOST}:{port}/?token={token}")
        server = uvicorn.Server(
            uvicorn.Config(
                make_app(desk, token, port),
                access_log=False,
                log_level="warning",
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=2,
            )
        )
        with contextlib.suppress(KeyboardInterrupt):  # which uvicorn raises again at its end
            server.run(sockets=[listening])
