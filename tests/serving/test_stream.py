"""Streams: the same motion as of the whole, in bounded memory, whatever a client does."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from gestray.generators.contract import Speech
from gestray.generators.voice import speak
from gestray.speech.audio import SAMPLE_RATE, pcm16_to_float
from gestray.speech.words import Word
from serving.api import make_api
from serving.config import Limits, Load, ServingConfig
from serving.keys import Keyring, make_key
from serving.library import Mover
from serving.listening import rounded
from tests.serving.conftest import InProcess

AT = "/v1/generate/stream"
_LIMITS = Limits(stream_s=40, stall_s=1.0, streams=2)
_RNG = np.random.default_rng(5)


def pcm16(seconds: float) -> bytes:
    return _RNG.normal(0, 3000, round(seconds * SAMPLE_RATE)).astype("<i2").tobytes()


class Talk:
    """A client: what it was sent, and what it has to say."""

    def __init__(self, socket: Any) -> None:
        self.socket, self.told, self.chunks, self.sounds = socket, [], {}, []

    def say(self, kind: str, **values: Any) -> None:
        self.socket.send_text(json.dumps({"type": kind, **values}))

    def listen(self, until: str, acknowledge: bool = True) -> dict[str, Any]:
        while True:
            message = self.socket.receive()
            if message["type"] == "websocket.close":
                raise WebSocketDisconnect(message["code"], message.get("reason"))
            if (text := message.get("text")) is not None:
                self.told.append(json.loads(text))
                if self.told[-1]["type"] == until:
                    return self.told[-1]
                continue
            tag, number, first, count = struct.unpack_from("<4sIII", message["bytes"])
            if tag == b"pcm ":
                assert len(message["bytes"]) == 16 + 2 * count
                self.sounds.append((number, first, message["bytes"][16:]))
                continue
            values = np.frombuffer(message["bytes"], "<f4", offset=16).reshape(count, 168)
            self.chunks[number] = (first, values)
            if acknowledge:
                self.say("ack", chunk=number)
            if until == "pose":
                return {}

    @property
    def poses(self) -> np.ndarray:
        """What came, without a hole."""
        assert sorted(self.chunks) == list(range(len(self.chunks)))
        at = 0
        for number in range(len(self.chunks)):
            assert self.chunks[number][0] == at
            at += len(self.chunks[number][1])
        return np.concatenate([self.chunks[n][1] for n in range(len(self.chunks))])[:, :165]


@pytest.fixture
def server(model, mover: Mover, key) -> Iterator[TestClient]:
    config = ServingConfig(limits=_LIMITS)
    app = make_api(InProcess(model, mover, Load()), config, Keyring.of([key[0]]))
    with TestClient(app, headers={"authorization": f"Bearer {key[1]}"}) as client:
        yield client


def pieces(sound: bytes, size: int) -> Iterator[bytes]:
    return (sound[at : at + size] for at in range(0, len(sound), size))


def test_a_stream_of_sound_is_the_whole_and_is_kept(server: TestClient, mover: Mover) -> None:
    sound = pcm16(4.0)
    words = [
        {"word": "hello", "start_s": 0.5, "end_s": 0.8},
        {"word": "so", "start_s": 3, "end_s": 3.3},
    ]
    with server.websocket_connect(AT) as socket:
        talk = Talk(socket)
        talk.say("start", input="audio", seed=7)
        started = talk.listen("started")
        assert started["source"] == mover.source and started["samples"] == 0
        talk.say("words", words=words)
        for piece in pieces(sound, 3210):
            socket.send_bytes(piece)
        talk.say("end")
        end = talk.listen("end")
        with pytest.raises(WebSocketDisconnect) as closed:
            talk.listen("nothing")
        assert closed.value.code == 1000
    heard = Speech(pcm16_to_float(sound), tuple(Word(**word) for word in words))
    expected = mover.generator.generate(heard, seed=7)
    assert np.array_equal(talk.poses, expected.poses)
    assert end["chunks"] == len(talk.chunks) and end["motion"]["frames"] == len(expected)
    assert [w["word"] for w in end["motion"]["words"]] == ["hello", "so"]
    with np.load(
        __import__("io").BytesIO(server.get(f"/v1/motions/{end['motion']['id']}.npz").content)
    ) as kept:
        assert np.abs(kept["poses"] - expected.poses).max() < 1e-6


def test_a_stream_of_text_comes_with_its_sound(server: TestClient, mover: Mover) -> None:
    with server.websocket_connect(AT) as socket:
        talk = Talk(socket)
        talk.say("start", input="text")
        talk.say("text", text="I have no idea.")
        talk.say("end")
        end = talk.listen("end")
    whole, sound = rounded(speak("I have no idea."))
    assert np.array_equal(talk.poses, mover.generator.generate(whole).poses)
    [(number, first, played)] = talk.sounds
    assert (number, first) == (0, 0) and sound.startswith(played)
    words = [each["words"] for each in talk.told if each["type"] == "words"]
    assert [w["word"] for w in words[0]] == ["I", "have", "no", "idea"]
    assert end["motion"]["words"] == words[0]


def test_a_lost_stream_goes_on_where_the_client_was(server: TestClient, mover: Mover) -> None:
    sound = pcm16(5.0)
    with server.websocket_connect(AT) as socket:
        talk = Talk(socket)
        talk.say("start", input="audio", seed=2)
        stream = talk.listen("started")["stream"]
        for piece in pieces(sound[:96_000], 3200):
            socket.send_bytes(piece)
        while len(talk.chunks) < 2:
            talk.listen("pose")
    with server.websocket_connect(AT) as socket:
        again = Talk(socket)
        again.chunks = {0: talk.chunks[0]}
        again.say("resume", stream=stream, after=0)
        resumed = again.listen("resumed")
        assert 0 < resumed["samples"] <= 48_000
        for piece in pieces(sound[2 * resumed["samples"] :], 3200):
            socket.send_bytes(piece)
        again.say("end")
        again.listen("end")
    expected = mover.generator.generate(Speech(pcm16_to_float(sound)), seed=2)
    assert np.array_equal(again.poses, expected.poses)


def test_a_stream_is_one_connections_at_a_time(server: TestClient) -> None:
    with server.websocket_connect(AT) as socket, server.websocket_connect(AT) as other:
        first, second = Talk(socket), Talk(other)
        first.say("start", input="audio")
        stream = first.listen("started")["stream"]
        second.say("resume", stream=stream, after=-1)
        second.listen("resumed")
        socket.send_bytes(pcm16(0.1))
        with pytest.raises(WebSocketDisconnect) as closed:
            first.listen("nothing")
        assert closed.value.code == 4409


@pytest.mark.parametrize(
    ("message", "code", "says"),
    [
        ("garbage", 4400, "JSON"),
        ('{"type": "dance"}', 4400, "type"),
        ('{"type": "end"}', 4400, "start or resume"),
        (b"\0\0", 4400, "start or resume"),
        ('{"type": "start", "input": "video"}', 4400, "input"),
        ('{"type": "start", "input": "audio", "speaker": "nobody"}', 4422, "known"),
        ('{"type": "start", "input": "audio", "model": "none"}', 4404, "semtalk"),
        ('{"type": "resume", "stream": "../../x", "after": 0}', 4400, "stream"),
        ('{"type": "resume", "stream": "' + 32 * "0" + '", "after": 0}', 4404, "no such stream"),
        ('{"type": "ack", "chunk": 1e99}', 4400, "chunk"),
        ("x" * 70_000, 4413, "65536 bytes"),
        ("[" * 60_000, 4400, ""),
    ],
)
def test_a_message_that_is_none_ends_the_stream_with_a_reason(server, message, code, says) -> None:
    with server.websocket_connect(AT) as socket:
        talk = Talk(socket)
        (socket.send_bytes if isinstance(message, bytes) else socket.send_text)(message)
        with pytest.raises(WebSocketDisconnect) as closed:
            talk.listen("nothing")
        assert closed.value.code == code and says in talk.told[-1]["detail"]
        assert talk.told[-1]["type"] == "problem" and closed.value.reason


@pytest.mark.parametrize(
    ("kind", "messages", "code"),
    [
        ("audio", [b"odd"], 4400),
        ("audio", ['{"type": "text", "text": "hi"}'], 4400),
        (
            "audio",
            ['{"type": "words", "words": [{"word": "a", "start_s": NaN, "end_s": 1}]}'],
            4400,
        ),
        ("audio", [bytes(64_000)] * 21, 4413),
        ("text", [b"\0\0"], 4400),
        ("text", ['{"type": "text", "text": "…"}'], 4422),
        ("text", [json.dumps({"type": "text", "text": "a " * 1500})], 4422),
        ("audio", [], 4408),
    ],
)
def test_what_does_not_belong_into_a_stream_ends_it(server, kind, messages, code) -> None:
    with server.websocket_connect(AT) as socket:
        talk = Talk(socket)
        talk.say("start", input=kind)
        for message in messages:
            (socket.send_bytes if isinstance(message, bytes) else socket.send_text)(message)
        with pytest.raises(WebSocketDisconnect) as closed:
            talk.listen("nothing")
        assert closed.value.code == code


def test_who_does_not_acknowledge_is_sent_no_more_than_a_window(server: TestClient) -> None:
    with server.websocket_connect(AT) as socket:
        talk = Talk(socket)
        talk.say("start", input="audio")
        window = talk.listen("started")["window"]
        for _ in range(20):
            socket.send_bytes(bytes(64_000))
        with pytest.raises(WebSocketDisconnect) as closed:
            talk.listen("nothing", acknowledge=False)
        assert closed.value.code == 4408 and "acknowledged" in talk.told[-1]["detail"]
        assert len(talk.chunks) == window
    # And whoever comes next finds all as it was.
    with server.websocket_connect(AT) as socket:
        Talk(socket).say("start", input="audio")
        assert Talk(socket).listen("started")


def test_so_many_streams_and_no_more(server: TestClient) -> None:
    with server.websocket_connect(AT), server.websocket_connect(AT):
        with server.websocket_connect(AT) as third, pytest.raises(WebSocketDisconnect) as closed:
            Talk(third).listen("nothing")
        assert closed.value.code == 4429


def test_only_a_key_with_the_scope_may_stream_and_only_its_own(model, mover: Mover) -> None:
    made = [make_key(name, scopes, 100) for name, scopes in _SCOPES.items()]
    app = make_api(InProcess(model, mover), ServingConfig(), Keyring.of([key for key, _ in made]))
    tokens = dict(zip(_SCOPES, (token for _, token in made), strict=True))

    def talk(name: str | None, kind: str, origin: str | None = None, **values: Any) -> Any:
        offered = ["gestray.v1", *([f"gestray.key.{tokens.get(name, name)}"] if name else [])]
        headers = {"origin": origin} if origin else {}
        with client.websocket_connect(AT, offered, headers=headers) as socket:
            assert socket.accepted_subprotocol == "gestray.v1"
            Talk(socket).say(kind, **values)
            try:
                return Talk(socket).listen("started")["stream"]
            except WebSocketDisconnect as closed:
                return closed.code

    with TestClient(app) as client:
        assert talk(None, "start", input="audio") == 4401
        assert talk("sesame", "start", input="audio") == 4401
        assert talk("reader", "start", input="audio") == 4403
        assert talk("mover", "start", "https://evil.example", input="audio") == 4403
        stream = talk("mover", "start", "http://testserver", input="audio")
        assert len(stream) == 32
        assert talk("other", "resume", stream=stream, after=-1) == 4404


_SCOPES = {"mover": ("generate",), "other": ("generate",), "reader": ("retrieve",)}
