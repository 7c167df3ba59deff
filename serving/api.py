"""API v1: what can be asked over HTTP, and how it is described (OpenAPI); the same over gRPC.

This module knows nothing of Ray: it makes an application of whatever can `retrieve`. The
deployment of `serving.app` does, and so does a test.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import Response
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

import gestray
from serving.answering.answering import Answering
from serving.config import ServingConfig
from serving.gate import Gate
from serving.keys import Keyring
from serving.pages import mount_assets
from serving.problems import RESPONSES, Problem, describe, problem_response
from serving.routes.admin import admin
from serving.routes.figures import figures
from serving.routes.generation import generation
from serving.routes.health import health
from serving.routes.recordings import recordings
from serving.routes.retrieval import retrieval
from serving.routes.stream import stream
from serving.service import Service

PAGE = Path(__file__).parent / "page"


def make_api(service: Service, config: ServingConfig, keyring: Keyring | None) -> ASGIApp:
    """The application, the page at its root, and the gate around both.

    Where a config has a `grpc_port`, the application's lifespan is that of a gRPC server beside it.
    """
    answering = Answering.of(service, config)

    @asynccontextmanager
    async def lifespan(_api: FastAPI) -> AsyncIterator[None]:
        if config.grpc_port is None:
            yield
            return
        from serving.grpc.server import listening

        async with listening(answering, config, keyring):
            yield

    api = FastAPI(
        lifespan=lifespan,
        title="gestray",
        version=gestray.__version__,
        description="Which recorded gesture says this? And how does one move for that?",
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        responses=RESPONSES,
    )
    if config.allow_origins:
        api.add_middleware(
            CORSMiddleware,
            allow_origins=list(config.allow_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
        )
    _answer_problems(api)
    api.include_router(health(service))
    figures(api.router, service)
    # The gate checks the key; this tells OpenAPI that there is one.
    v1 = APIRouter(prefix="/v1", dependencies=[Depends(HTTPBearer(auto_error=False))])
    retrieval(v1, answering.retrieval)
    recordings(v1, answering.retrieval)
    generation(v1, answering.generation)
    admin(v1, service, config)
    api.include_router(v1)
    sockets = APIRouter(prefix="/v1")
    stream(sockets, answering.streams)
    api.include_router(sockets)
    mount_assets(api)
    api.mount("/", StaticFiles(directory=PAGE, html=True))
    return Gate(
        api,
        keyring,
        config.limits,
        config.load.request_s,
        service.telemetry,
        config.allow_origins,
    )


def _answer_problems(api: FastAPI) -> None:
    @api.exception_handler(HTTPException)
    async def problem(request: Request, error: HTTPException) -> Response:
        return problem_response(error, request.state.request_id)

    @api.exception_handler(Exception)
    async def ours(request: Request, error: Exception) -> Response:
        problem = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of the server; it is logged")
        return problem_response(problem, request.state.request_id)

    @api.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        unreadable = any(item["type"] == "json_invalid" for item in error.errors())
        status = HTTPStatus.BAD_REQUEST if unreadable else HTTPStatus.UNPROCESSABLE_ENTITY
        return problem_response(Problem(status, describe(error.errors())), request.state.request_id)
