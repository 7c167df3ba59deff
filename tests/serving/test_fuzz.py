"""Requests that nobody would send: whatever comes, the server answers, and has not grown.

The default run is short; `pytest -m slow tests/serving/test_fuzz.py` sends thousands.
"""

from __future__ import annotations

import gc
import os
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp

from serving.api import make_api
from serving.config import Limits, Load, ServingConfig
from serving.keys import Keyring
from serving.library import Model, Mover
from tests.serving.conftest import InProcess, listening
from tests.serving.test_api import bomb, npz
from tests.serving.test_generation import silence, sound

# What a fuzzer may be answered; 501 where nothing speaks, 429 where too much is asked.
_FINE = {200, 202, 304, 400, 401, 403, 404, 405, 406, 408, 413, 415, 422, 429, 501, 503}
_GROWN_BYTES = 150 << 20


@pytest.fixture(scope="module")
def app(model: Model, mover: Mover, key, store) -> ASGIApp:
    limits = Limits(body_bytes=300_000, speech_s=2, film_s=0.2, text_chars=80, body_s=1)
    config = ServingConfig(store=store.uri, limits=limits, load=Load(kept_bytes=8 << 20))
    return make_api(InProcess(model, mover, config.load), config, Keyring.of([key[0]]))


@pytest.fixture(scope="module")
def at(app: ASGIApp) -> Iterator[str]:
    with listening(app) as url:
        yield url


@pytest.fixture
def same_size() -> Iterator[None]:
    """The process is not larger afterwards than what is kept on purpose explains."""
    gc.collect()
    before = psutil.Process().memory_info().rss
    yield
    gc.collect()
    assert psutil.Process().memory_info().rss - before < _GROWN_BYTES


def _check(response: Any) -> None:
    assert response.status_code in _FINE, response.text
    if response.status_code >= 400 and response.status_code != 405:
        kind = response.headers["content-type"]
        kind = kind if isinstance(kind, str) else kind[0]
        assert kind == "application/problem+json"


def _of_the_schema(at: str, token: str, cases: int) -> int:
    """Send cases of every operation that OpenAPI describes; how many there were."""
    headers = {"authorization": f"Bearer {token}"}
    schema = schemathesis.openapi.from_url(f"{at}/v1/openapi.json", headers=headers)
    operations = [found.ok() for found in schema.get_all_operations()]
    sent = 0
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(
            max_examples=-(-cases // len(operations)), deadline=None, database=None,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def send(case: Any) -> None:
            nonlocal sent
            sent += 1
            _check(case.call(headers=headers, timeout=20))

        send()
    return sent


def test_whatever_the_schema_allows_is_answered(at: str, key, same_size) -> None:
    assert _of_the_schema(at, key[1], 120) >= 100
    assert httpx.get(f"{at}/readyz").status_code == 200


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_thousands_of_what_the_schema_allows_are_answered(at: str, key, same_size) -> None:
    assert _of_the_schema(at, key[1], 2_400) >= 2_000
    assert httpx.get(f"{at}/readyz").status_code == 200


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_follows_from_answers_is_answered(at: str, key, same_size) -> None:
    """Stateful: ids of motions that were made are asked for, in every way there is."""
    headers = {"authorization": f"Bearer {key[1]}"}
    paths = ("", "/motion", "/turns", "/audio", ".npz", ".bvh", ".glb", ".vrma", ".mp4", ".exe")

    @given(
        seconds=st.floats(0.001, 2.5), temperature=st.floats(0, 10), asked=st.sampled_from(paths)
    )
    @settings(max_examples=60, deadline=None, database=None)
    def story(seconds: float, temperature: float, asked: str) -> None:
        files, data = {"audio": sound(seconds)}, {"temperature": str(temperature)}
        with httpx.Client(base_url=at, headers=headers, timeout=30) as client:
            made = client.post("/v1/generate", files=files, data=data)
            _check(made)
            if made.status_code == 200:
                found = client.get(f"/v1/motions/{made.json()['id']}{asked}")
                assert found.status_code == (422 if asked in (".exe", ".mp4") else 200) or (
                    asked == ".mp4" and found.status_code in (200, 404)
                )

    story()


_WHOLE = {
    "/v1/retrieve/by-motion": [npz(poses=__import__("numpy").zeros((8, 165))), bomb()],
    "/v1/generate": [sound(0.3), sound(0.3, "FLAC"), sound(0.3, "OGG"), sound(0.3, "MP3")],
}


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A file that was whole, of which some bytes are others, missing, or too many."""
    path = draw(st.sampled_from(sorted(_WHOLE)))
    whole = bytearray(draw(st.sampled_from(_WHOLE[path])))
    for _ in range(draw(st.integers(0, 8))):
        at = draw(st.integers(0, len(whole) - 1))
        if draw(st.booleans()):
            at = min(at, 200) % len(whole)  # headers are where it hurts
        whole[at] = draw(st.integers(0, 255))
    return path, bytes(whole[: draw(st.integers(0, len(whole)))]) + draw(st.binary(max_size=64))


def _of_files(at: str, token: str, cases: int) -> None:
    with httpx.Client(
        base_url=at, headers={"authorization": f"Bearer {token}"}, timeout=20
    ) as client:

        @given(damaged())
        @settings(max_examples=cases, deadline=None, database=None)
        def send(file: tuple[str, bytes]) -> None:
            path, body = file
            if path == "/v1/generate":
                _check(client.post(path, files={"audio": body}))
            else:
                _check(client.post(path, content=body))

        send()


def test_damaged_files_are_answered(at: str, key, same_size) -> None:
    _of_files(at, key[1], 40)


@pytest.mark.slow
def test_thousands_of_damaged_files_are_answered(at: str, key, same_size) -> None:
    _of_files(at, key[1], 2_000)


def test_bombs_are_refused_at_once(at: str, key, same_size) -> None:
    headers = {"authorization": f"Bearer {key[1]}"}
    began = time.monotonic()
    hour = httpx.post(f"{at}/v1/generate", files={"audio": silence(3600)}, headers=headers)
    assert hour.status_code == 422 and "at most 2 s" in hour.json()["detail"]
    packed = httpx.post(f"{at}/v1/retrieve/by-motion", content=bomb(), headers=headers)
    assert packed.status_code == 422
    deep = httpx.post(
        f"{at}/v1/retrieve",
        content=b'{"text":' + b"[" * 100_000,
        headers=headers | {"content-type": "application/json"},
    )
    assert deep.status_code in (400, 422)
    assert time.monotonic() - began < 10


def test_who_sends_slowly_is_told_so_and_keeps_nobody_waiting(at: str, key, monkeypatch) -> None:
    monkeypatch.setattr("serving.heads.HEAD_S", 1.0)
    url, slow = httpx.URL(at), []
    head = (
        f"POST /v1/retrieve HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key[1]}\r\n"
        "content-type: application/json\r\ncontent-length: 100\r\n\r\n{"
    ).encode()
    # Some say nothing, some begin a head, some end it and begin a body; some were answered before.
    whole = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    parts = [b"", head[:30], head, whole + head[:30]]
    for number in range(40):
        connection = socket.create_connection((url.host, url.port))
        connection.sendall(parts[number % 4])
        slow.append(connection)
    began = time.monotonic()
    headers = {"authorization": f"Bearer {key[1]}"}
    asked = httpx.post(f"{at}/v1/retrieve", json={"text": "hello"}, headers=headers)
    assert asked.status_code == 200 and time.monotonic() - began < 5
    time.sleep(1.5)
    for number, connection in enumerate(slow):
        connection.settimeout(10)
        answer = b"".join(iter(lambda c=connection: c.recv(4096), b""))  # until it is closed
        found = re.findall(rb"HTTP/1.1 (\d+)", answer)
        assert found == ([b"200", b"408"] if number % 4 == 3 else [b"408"])
        connection.close()


def test_no_file_of_the_server_is_told(at: str) -> None:
    for path in ("/../../../etc/passwd", "/assets/../../keys.py", "/%2e%2e/%2e%2e/etc/passwd"):
        with socket.create_connection((httpx.URL(at).host, httpx.URL(at).port)) as raw:
            raw.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: raw.recv(65536), b""))
        assert answer.split(b" ")[1] == b"404" and b"root:" not in answer
    assert os.environ.get("HOME", "/nowhere") not in answer.decode(errors="ignore")
