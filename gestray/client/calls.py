"""What can be asked, as requests that either client sends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter

from gestray.client.answers import (
    Answer,
    Clip,
    ModelAbout,
    Motion,
    MotionAnswer,
    MotionFormat,
    Releases,
)

T = TypeVar("T")


class Refused(Exception):
    """A request that was not answered.

    Attributes:
        status: of HTTP; of a stream, what its request would have got; 0 without any answer.
        detail: what was found, what was expected, what to do.
        request_id: also in the server's log.
    """

    def __init__(self, status: int, detail: str, request_id: str | None = None) -> None:
        super().__init__(f"{status}: {detail}" if status else detail)
        self.status, self.detail, self.request_id = status, detail, request_id


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request, and how its answer is read."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    options: Mapping[str, Any] = field(default_factory=dict)


def answer_of(call: Call[T], response: httpx.Response) -> T:
    """What was answered.

    Raises:
        Refused: it was not.
    """
    if response.is_success:
        return call.read(response)
    try:
        detail = str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = response.text[:200] or response.reason_phrase
    raise Refused(response.status_code, detail, response.headers.get("x-request-id"))


def retrieve(text: str, k: int, model: str | None) -> Call[Answer]:
    asked = {"text": text, "k": k, "model": model}
    return Call("POST", "/v1/retrieve", _as(Answer), {"json": asked})


def retrieve_by_motion(npz: bytes, k: int, model: str | None) -> Call[MotionAnswer]:
    headers = {"content-type": "application/octet-stream"}
    options = {"content": npz, "headers": headers, "params": _given(k=k, model=model)}
    return Call("POST", "/v1/retrieve/by-motion", _as(MotionAnswer), options)


def generate(text: str, how: Mapping[str, Any]) -> Call[Motion]:
    return Call("POST", "/v1/generate", _as(Motion), {"json": {"text": text, **_given(**how)}})


def generate_for(
    audio: bytes, words: bytes | None, transcript: str | None, how: Mapping[str, Any]
) -> Call[Motion]:
    files = {"audio": ("audio", audio)} | ({"words": ("words", words)} if words else {})
    data = {name: str(value) for name, value in _given(transcript=transcript, **how).items()}
    return Call("POST", "/v1/generate", _as(Motion), {"files": files, "data": data})


def motion(motion_id: str) -> Call[Motion]:
    return Call("GET", f"/v1/motions/{quote(motion_id, safe='')}", _as(Motion))


def motion_file(motion_id: str, kind: MotionFormat) -> Call[bytes]:
    return Call("GET", f"/v1/motions/{quote(motion_id, safe='')}.{kind}", _bytes)


def clip(phrase_id: str, model: str | None) -> Call[Clip]:
    options = {"params": _given(model=model)}
    return Call("GET", f"/v1/clips/{quote(phrase_id, safe='')}", _as(Clip), options)


def clip_file(phrase_id: str, kind: MotionFormat, model: str | None) -> Call[bytes]:
    path = f"/v1/clips/{quote(phrase_id, safe='')}/export.{kind}"
    return Call("GET", path, _bytes, {"params": _given(model=model)})


def models() -> Call[list[ModelAbout]]:
    return Call("GET", "/v1/models", _as(list[ModelAbout]))


def releases() -> Call[Releases]:
    return Call("GET", "/v1/admin/models", _as(Releases))


def swap(index: str, model: str | None, share: float) -> Call[Releases]:
    asked = _given(index=index, model=model, share=share)
    return Call("POST", "/v1/admin/models", _as(Releases), {"json": asked})


def _as(kind: type[T]) -> Callable[[httpx.Response], T]:
    return lambda response: TypeAdapter(kind).validate_json(response.content)


def _bytes(response: httpx.Response) -> bytes:
    return response.content


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
