"""Errors as `application/problem+json` (RFC 9457), each with the id of its request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse


class ProblemBody(BaseModel):
    """What went wrong, for the program and for the person."""

    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="What was found, what was expected, what to do.")
    request_id: str = Field(description="Also in the log of the server.")


class Problem(HTTPException):
    """A request that cannot be answered; `detail` is for whoever sent it.

    An `HTTPException`, because FastAPI makes a 400 of anything else that is raised while a
    body arrives.
    """

    def __init__(
        self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(int(status), detail, headers)


def problem_body(problem: HTTPException, request_id: str) -> ProblemBody:
    """What is told of a problem."""
    return ProblemBody(
        title=HTTPStatus(problem.status_code).phrase,
        status=problem.status_code,
        detail=str(problem.detail),
        request_id=request_id,
    )


def problem_response(problem: HTTPException, request_id: str) -> JSONResponse:
    """The answer that a problem is."""
    body = problem_body(problem, request_id)
    headers = {**(problem.headers or {}), "x-request-id": request_id}
    return JSONResponse(
        body.model_dump(), problem.status_code, headers, media_type="application/problem+json"
    )


def describe(errors: Sequence[Any]) -> str:
    """A validation error in one line: where, and what was expected there."""
    parts = []
    for error in errors[:5]:
        where = ".".join(str(part) for part in error["loc"] if part != "body")
        parts.append(f"{where}: {error['msg']}" if where else str(error["msg"]))
    return "; ".join(parts)


#: What OpenAPI says of the answers that any endpoint may give.
RESPONSES: dict[int | str, dict[str, Any]] = {
    int(status): {"model": ProblemBody, "description": text}
    for status, text in {
        HTTPStatus.BAD_REQUEST: "The request cannot be read.",
        HTTPStatus.UNAUTHORIZED: "No key, or one that is not known.",
        HTTPStatus.FORBIDDEN: "The key lacks the scope.",
        HTTPStatus.NOT_FOUND: "There is no such thing.",
        HTTPStatus.REQUEST_TIMEOUT: "The body did not arrive in time.",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is larger than allowed.",
        HTTPStatus.UNPROCESSABLE_ENTITY: "A value is not as described.",
        HTTPStatus.TOO_MANY_REQUESTS: "Too much at once; `Retry-After` says when to ask again.",
        HTTPStatus.SERVICE_UNAVAILABLE: "Not ready yet, or no longer.",
    }.items()
}
