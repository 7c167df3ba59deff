"""The client against a server: the same answers from both, patience, streams that survive."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from socket import SHUT_RDWR, create_connection, create_server, socket
from typing import Any

import httpx
import numpy as np
import pytest

from gestray.client import AsyncClient, Client, Moved, Refused, Retries, Said, Spoken
from gestray.client.answers import Motion
from gestray.generators.contract import Speech
from gestray.speech.audio import SAMPLE_RATE, pcm16_to_float
from gestray.speech.words import Word
from serving.api import make_api
from serving.config import Limits, ServingConfig
from serving.keys import Keyring
from serving.shared import Shared
from tests.serving.conftest import InProcess, listening, run
from tests.serving.test_generation import sound

_QUICK = Retries(first_s=0.01, longest_s=0.02)
_RNG = np.random.default_rng(3)


@pytest.fixture(scope="module")
def service(model, mover) -> InProcess:
    return InProcess(model, mover)


@pytest.fixture(scope="module")
def url(service: InProcess, key) -> Iterator[str]:
    config = ServingConfig(limits=Limits(stall_s=5))
    with listening(make_api(service, config, Keyring.of([key[0]]))) as url:
        yield url


@pytest.fixture
def client(url: str, key) -> Iterator[Client]:
    with Client(url, key[1], _QUICK) as client:
        yield client


def test_both_clients_are_answered_alike(client: Client, url: str, key, model) -> None:
    text = model.gestures.rows["text"][1].as_py()
    found = client.retrieve(text, 3)
    made = client.generate_for(sound(0.7), seed=5, words=b'[{"word":"a","start":0.1,"end":0.2}]')
    phrase = found.gestures[0].id

    async def asked() -> list[Any]:
        async with AsyncClient(url, key[1], _QUICK) as other:
            return [
                await other.retrieve(text, 3),
                await other.motion(made.id),
                await other.clip(phrase),
                await other.clip_file(phrase, "bvh"),
                await other.motion_file(made.id, "glb"),
                await other.models(),
            ]

    mine = [
        found, made, client.clip(phrase), client.clip_file(phrase, "bvh"),
        client.motion_file(made.id, "glb"), client.models(),
    ]  # fmt: skip
    assert run(asked()) == mine
    assert [w.word for w in made.words] == ["a"] and made.seed == 5
    npz = client.clip_file(phrase, "npz")
    assert client.retrieve_by_motion(npz, 2).similar[0].id == phrase


def test_what_is_refused_says_why(client: Client, url: str) -> None:
    with pytest.raises(Refused, match="known:") as refused:
        client.generate("hi", speaker="nobody")
    assert refused.value.status == 422 and len(refused.value.request_id or "") == 32
    with Client(url, retries=_QUICK) as stranger, pytest.raises(Refused, match="key"):
        stranger.models()
    with Client("http://127.0.0.1:9", retries=_QUICK) as nowhere, pytest.raises(Refused):
        nowhere.models()


@pytest.mark.parametrize(
    ("answers", "status", "asked"),
    [
        ([(429, {"retry-after": "3"}), (200, {})], 200, 2),
        ([(500, {"content-type": "text/plain"}), (502, {}), (503, {}), (200, {})], 200, 4),
        ([(500, {"content-type": "application/problem+json"}), (200, {})], 500, 1),
        ([(422, {}), (200, {})], 422, 1),
        ([(429, {"retry-after": "3600"}), (200, {})], 429, 1),
        ([(503, {})] * 9, 503, 6),
        ([None, None, (200, {})], 200, 3),
        ([None] * 9, 0, 6),
    ],
)
def test_what_passes_is_asked_again(monkeypatch, answers, status, asked) -> None:
    waits, script = [], iter(answers)
    monkeypatch.setattr(time, "sleep", waits.append)

    def answer(request: httpx.Request) -> httpx.Response:
        found = next(script)
        if found is None:
            raise httpx.ConnectError("nobody listens")
        return httpx.Response(found[0], headers=found[1], content=b"[]")

    client = Client("http://test", retries=Retries())
    client._http = httpx.Client(base_url="http://test", transport=httpx.MockTransport(answer))
    try:
        assert client.models() == [] and status == 200
    except Refused as refused:
        assert refused.status == status
    assert len(waits) == asked - 1
    if answers[0] == (429, {"retry-after": "3"}):
        assert 3 <= waits[0] <= 3.25
    assert all(wait <= 0.25 * 2**n + 3 for n, wait in enumerate(waits))


def test_waits_are_spread() -> None:
    waits = [Retries().wait(3, None) for _ in range(200)]
    assert min(waits) < 0.1 and 0.9 < max(waits) <= 1.0 and len(set(waits)) == 200


@contextmanager
def cut_after(url: str, counts: list[int]) -> Iterator[str]:
    """The server through a wire that is cut after so many bytes, each time it is laid anew."""
    target, left = httpx.URL(url), list(counts)

    def pass_on(source: socket, other: socket, most: float) -> None:
        try:
            while most > 0 and (data := source.recv(8192)):
                other.sendall(data)
                most -= len(data)
        except OSError:
            pass
        for end in (source, other):
            with suppress(OSError):
                end.shutdown(SHUT_RDWR)

    def accept() -> None:
        while True:
            try:
                near, _ = server.accept()
            except OSError:
                return
            far = create_connection((target.host, target.port))
            most = left.pop(0) if left else float("inf")
            threading.Thread(target=pass_on, args=(near, far, float("inf")), daemon=True).start()
            threading.Thread(target=pass_on, args=(far, near, most), daemon=True).start()

    with create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(SHUT_RDWR)


def pcm16(seconds: float) -> bytes:
    return _RNG.normal(0, 3000, round(seconds * SAMPLE_RATE)).astype("<i2").tobytes()


SOUND = pcm16(6.0)
_WORDS = [("hello", 0.5, 0.8), ("there", 3.0, 3.4)]


def said() -> Iterator[bytes | Said]:
    yield Said(_WORDS[:1])
    yield SOUND[:64_000]
    yield Said(_WORDS[1:])
    for at in range(64_000, len(SOUND), 3_200):
        yield SOUND[at : at + 3_200]


def whole(items: list[Any]) -> np.ndarray:
    chunks = [item for item in items if isinstance(item, Moved)]
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    assert isinstance(items[-1], Motion) and items[-1].frames == sum(len(c.poses) for c in chunks)
    return np.concatenate([chunk.poses for chunk in chunks])


@pytest.fixture(scope="module")
def expected(mover) -> np.ndarray:
    words = tuple(Word(*word) for word in _WORDS)
    return mover.generator.generate(Speech(pcm16_to_float(SOUND), words), seed=8).poses


def test_a_stream_is_the_motion_of_the_whole(client: Client, expected) -> None:
    items = list(client.stream(said(), seed=8))
    assert np.array_equal(whole(items), expected)
    assert [word.word for word in items[-1].words] == ["hello", "there"]


@pytest.mark.parametrize("forgets", [False, True], ids=["known", "forgotten"])
def test_a_stream_survives_its_wire(service, url, key, expected, forgets, monkeypatch) -> None:
    """Cut three times; and where the server has forgotten it, said again from the beginning."""
    if forgets:

        async def nothing(self: Shared, stream: str, key: str | None) -> None:
            return None

        monkeypatch.setattr(Shared, "take_over", nothing)
    with cut_after(url, [30_000, 600, 60_000]) as wire, Client(wire, key[1], _QUICK) as client:
        items = list(client.stream(said(), seed=8))
    assert np.array_equal(whole(items), expected)
    assert [word.word for word in items[-1].words] == ["hello", "there"]


def test_texts_are_streamed_with_their_sound(url: str, key) -> None:
    async def texts() -> AsyncIterator[str]:
        yield "I have no idea."
        yield "Stop!"

    async def asked(at: str) -> list[Any]:
        async with AsyncClient(at, key[1], _QUICK) as client:
            return [item async for item in client.stream(texts())]

    with cut_after(url, [40_000]) as wire:
        items, cut = run(asked(url)), run(asked(wire))
    assert np.array_equal(whole(items), whole(cut))
    for each in (items, cut):
        spoken = [item for item in each if isinstance(item, Spoken)]
        assert [item.number for item in spoken] == [0, 1]
        assert spoken[1].first == len(spoken[0].pcm16) // 2
        assert [w.word for w in each[-1].words] == ["I", "have", "no", "idea", "Stop"]


def test_a_stream_ends_with_what_is_wrong(client: Client, url: str, key) -> None:
    with pytest.raises(Refused, match="known:") as refused:
        list(client.stream([SOUND], speaker="nobody"))
    assert refused.value.status == 422

    def breaks() -> Iterator[bytes]:
        yield SOUND[:32_000]
        raise RuntimeError("the microphone is gone")

    with pytest.raises(RuntimeError, match="microphone"):
        list(client.stream(breaks()))

    async def breaks_too() -> AsyncIterator[bytes]:
        yield SOUND[:32_000]
        raise RuntimeError("the microphone is gone")

    async def asked() -> None:
        async with AsyncClient(url, key[1], _QUICK) as other:
            async for _ in other.stream(breaks_too()):
                pass

    with pytest.raises(RuntimeError, match="microphone"):
        run(asked())


def test_files_are_read_as_they_are(client: Client) -> None:
    made = client.generate("Stop!")
    with np.load(io.BytesIO(client.motion_file(made.id, "npz")), allow_pickle=False) as arrays:
        assert len(arrays["poses"]) == made.frames


def test_it_needs_no_models() -> None:
    code = "import sys, gestray.client; print([m for m in ('torch', 'ray') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
