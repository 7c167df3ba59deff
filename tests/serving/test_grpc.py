"""gRPC: the same answers as over HTTP, the same refusals, and nothing done for who has left."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import httpx
import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gestray.client import answers
from gestray.client.v1 import gestray_pb2 as pb
from gestray.generators.contract import Speech
from gestray.generators.voice import speak
from gestray.speech.audio import pcm16_to_float
from gestray.speech.words import Word
from serving.api import make_api
from serving.config import Limits, Load, ServingConfig
from serving.grpc.gate import SCOPES
from serving.keys import Keyring, make_key
from serving.library import Model, Mover
from serving.listening import rounded
from serving.streams import messages
from tests.conftest import _free_port
from tests.serving.conftest import InProcess, listening
from tests.serving.grpc_calls import Caller, Talk, calling, says
from tests.serving.test_api import bomb, npz
from tests.serving.test_generation import silence, sound
from tests.serving.test_stream import pcm16, pieces

_LIMITS = Limits(body_bytes=200_000, speech_s=70, stream_s=80, body_s=1, stall_s=1.5, streams=2)
_INVALID, _NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND


class Server(NamedTuple):
    port: int
    http: httpx.Client
    service: InProcess
    tokens: dict[str, str]


@pytest.fixture(scope="module")
def server(model: Model, mover: Mover) -> Iterator[Server]:
    """Both doors of one service."""
    scopes = {"all": ("retrieve", "generate"), "reader": ("retrieve",), "slow": ("retrieve",)}
    made = {
        name: make_key(name, scope, 2 if name == "slow" else 100_000)
        for name, scope in scopes.items()
    }
    service = InProcess(model, mover, load := Load(ongoing=4, queued=2, move_queued=4))
    config = ServingConfig(limits=_LIMITS, load=load, grpc_port=_free_port())
    app = make_api(service, config, Keyring.of([key for key, _ in made.values()]))
    tokens = {name: token for name, (_, token) in made.items()}
    headers = {"authorization": f"Bearer {tokens['all']}"}
    with listening(app) as url, httpx.Client(base_url=url, headers=headers, timeout=60) as http:
        yield Server(config.grpc_port, http, service, tokens)


@pytest.fixture
def call(server: Server) -> Iterator[Caller]:
    with calling(server.port, server.tokens["all"]) as caller:
        yield caller


def as_json(message: Any) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True)


def test_what_is_generated_is_of_the_proto(tmp_path: Path) -> None:
    """And its names are those of HTTP's answers, field by field."""
    root = Path(__file__).resolve().parents[2]
    proto = "gestray/client/v1/gestray.proto"
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{root}", *outputs, proto]
    subprocess.run(command, check=True, cwd=root)
    for made in (tmp_path / "gestray/client/v1").iterdir():
        assert made.read_text() == (root / "gestray/client/v1" / made.name).read_text()
    kinds = [answers.Answer, answers.MotionAnswer, answers.Gesture, answers.ModelAbout]
    kinds += [answers.Motion, answers.Word, messages.Start, messages.Resume, messages.Ended]
    for kind in kinds:
        fields = set(pb.DESCRIPTOR.message_types_by_name[kind.__name__].fields_by_name)
        assert fields == set(kind.model_fields) - {"type"}
    service = pb.DESCRIPTOR.services_by_name["Gestures"]
    assert set(service.methods_by_name) == set(SCOPES)


def test_retrieval_is_that_of_http(call: Caller, server: Server, model: Model) -> None:
    text = model.gestures.rows["text"][3].as_py()
    expected = server.http.post("/v1/retrieve", json={"text": text, "k": 4}).json()
    found = call("Retrieve", pb.RetrieveRequest(text=text, k=4))
    assert answers.Answer(**as_json(found) | {"gestures": _gestures(found.gestures)}) == (
        answers.Answer(**expected)
    )
    assert len(call("Retrieve", pb.RetrieveRequest(text=text)).gestures) == 5

    phrase = found.gestures[0].id
    clip = b"".join(
        piece.content for piece in call("ClipFile", pb.ClipFileRequest(id=phrase, format="npz"))
    )
    by_motion = server.http.post("/v1/retrieve/by-motion?k=2", content=clip).json()
    similar = call("RetrieveByMotion", pb.RetrieveByMotionRequest(npz=clip, k=2))
    assert similar.similar[0].id == phrase
    assert answers.MotionAnswer(
        model=similar.model,
        source=dict(similar.source),
        similar=_gestures(similar.similar),
        texts=_gestures(similar.texts),
    ) == answers.MotionAnswer(**by_motion)

    models = call("Models", pb.ModelsRequest()).models
    assert [(m.name, m.kind, m.default) for m in models] == [
        (m["name"], m["kind"], m["default"]) for m in server.http.get("/v1/models").json()
    ]


def _gestures(found: Any) -> list[dict[str, Any]]:
    """With null for what is unset, as JSON has it."""
    empty = dict.fromkeys(("speaker", "form", "intent"))
    return [empty | {field.name: value for field, value in g.ListFields()} for g in found]


def test_generation_is_that_of_http(call: Caller, server: Server) -> None:
    recording, said = sound(1.5), {"text": "I have no idea.", "seed": 3}
    words = b'[{"word": "no", "start": 0.2, "end": 0.5}]'
    asked = [
        (pb.GenerateRequest(**said), {"json": said}),
        (
            pb.GenerateRequest(recording=pb.Recording(audio=recording, words=words), temperature=0),
            {"files": {"audio": recording, "words": words}, "data": {"temperature": "0"}},
        ),
    ]  # fmt: skip
    for request, options in asked:
        expected = server.http.post("/v1/generate", **options).json()
        made = call("Generate", request)
        assert (made.frames, list(made.meaning)) == (expected["frames"], expected["meaning"])
        assert [as_json(word) for word in made.words] == expected["words"]
        assert dict(made.source) == expected["source"] and made.seed == expected["seed"]
        for kind in ("npz", "wav"):
            at = f"{expected['id']}{'.npz' if kind == 'npz' else '/audio'}"
            parts = call("MotionFile", pb.MotionFileRequest(id=made.id, format=kind))
            file, other = b"".join(p.content for p in parts), server.http.get(f"/v1/motions/{at}")
            if kind == "wav":
                assert file == other.content
                continue
            with np.load(io.BytesIO(file)) as mine, np.load(io.BytesIO(other.content)) as theirs:
                assert np.array_equal(mine["poses"], theirs["poses"])
        # What either makes, the other has.
        assert server.http.get(f"/v1/motions/{made.id}").json()["id"] == made.id


def test_a_stream_is_the_whole_though_its_call_is_lost(call: Caller, mover: Mover) -> None:
    heard, words = pcm16(5.0), [("hello", 0.5, 0.8), ("so", 3.0, 3.3)]
    first = Talk(call)
    first.say(start=pb.Start(input="audio", seed=7))
    stream = first.listen("begun").stream
    said = [pb.Word(word=w, start_s=start, end_s=end) for w, start, end in words]
    first.say(words=pb.Words(words=said))
    for piece in pieces(heard[:96_000], 3200):
        first.say(sound=piece)
    while len(first.chunks) < 2:
        first.listen("moved")
    first.told.cancel()
    again = Talk(call)
    again.chunks = {0: first.chunks[0]}
    again.say(resume=pb.Resume(stream=stream, after=0))
    begun = again.listen("begun")
    assert begun.resumed and 0 < begun.samples <= 48_000 and begun.words == 2
    for piece in pieces(heard[2 * begun.samples :], 3200):
        again.say(sound=piece)
    again.say(end=pb.End())
    motion = again.listen("ended").motion
    whole = Speech(pcm16_to_float(heard), tuple(Word(*word) for word in words))
    assert np.array_equal(again.poses, mover.generator.generate(whole, seed=7).poses)
    assert [word.word for word in motion.words] == ["hello", "so"]


def test_a_client_that_only_speaks_and_then_listens_gets_all(call: Caller, mover: Mover) -> None:
    """More than a window of chunks, none of them acknowledged: its side is closed."""
    text = "I have no idea."
    whole, played = rounded(speak(text))
    spoken = Talk(call)
    spoken.say(start=pb.Start(input="text"))
    spoken.say(text=text)
    spoken.close()
    assert spoken.listen("ended", acknowledge=False).motion.frames == len(spoken.poses)
    assert np.array_equal(spoken.poses, mover.generator.generate(whole).poses)
    [sounds] = [told.spoke for told in spoken.others if told.WhichOneof("what") == "spoke"]
    assert played.startswith(sounds.pcm16)

    heard = pcm16(45.0)
    long = Talk(call)
    long.say(start=pb.Start(input="audio"))
    for piece in pieces(heard, 64_000):
        long.say(sound=piece)
    long.close()
    assert long.listen("ended", acknowledge=False).chunks == len(long.chunks) > 64


def test_who_does_not_acknowledge_is_sent_no_more_than_a_window(call: Caller) -> None:
    talk = Talk(call)
    talk.say(start=pb.Start(input="audio"))
    for piece in pieces(pcm16(45.0), 64_000):
        talk.say(sound=piece)
    with pytest.raises(grpc.RpcError) as ended:
        talk.listen("ended", acknowledge=False)
    assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "acknowledged" in ended.value.details() and len(talk.chunks) == 64


@pytest.mark.parametrize(
    ("say", "code", "detail"),
    [
        ([{}], _INVALID, "empty"),
        ([{"end": pb.End()}], _INVALID, "start or resume"),
        ([{"start": pb.Start(input="video")}], _INVALID, "input"),
        ([{"start": pb.Start(input="audio", seed=-1)}], _INVALID, "seed"),
        ([{"start": pb.Start(input="audio", speaker="nobody")}], _INVALID, "known"),
        ([{"start": pb.Start(input="audio", model="no")}], _NOT_FOUND, "semtalk"),
        ([{"resume": pb.Resume(stream="../x", after=0)}], _INVALID, "stream"),
        ([{"resume": pb.Resume(stream="0" * 32, after=0)}], _NOT_FOUND, "no such"),
        ([{"start": pb.Start(input="audio")}, {"sound": b"odd"}], _INVALID, "two a sample"),
        ([{"start": pb.Start(input="audio")}, {"sound": bytes(70_000)}], _INVALID, "65536"),
        ([{"start": pb.Start(input="audio")}, {"text": "hi"}], _INVALID, "not in a stream"),
        ([{"start": pb.Start(input="audio")}], grpc.StatusCode.DEADLINE_EXCEEDED, "nothing"),
    ],
)
def test_a_stream_that_is_none_ends_with_a_reason(call: Caller, say, code, detail) -> None:
    talk = Talk(call)
    for what in say:
        talk.say(**what)
    with pytest.raises(grpc.RpcError) as ended:
        talk.listen("ended")
    assert ended.value.code() is code and detail in ended.value.details()


def test_so_many_streams_and_no_more_and_those_that_leave_make_room(call: Caller) -> None:
    open_now = [Talk(call) for _ in range(2)]
    for talk in open_now:
        talk.say(start=pb.Start(input="audio"))
        talk.listen("begun")
    code, behind = call.refused("StreamGenerate", iter([says(start=pb.Start(input="audio"))]))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED and int(behind["retry-after"]) >= 1
    for talk in open_now:
        talk.told.cancel()
    deadline = time.monotonic() + 10
    while True:
        talk = Talk(call)
        talk.say(start=pb.Start(input="audio"))
        try:
            assert talk.listen("begun").stream
            break
        except grpc.RpcError:
            assert time.monotonic() < deadline
    talk.told.cancel()


def test_only_a_key_with_the_scope_may_call_and_not_too_often(server: Server) -> None:
    ask = pb.RetrieveRequest(text="hi")
    for token in (None, "sesame", server.tokens["all"][:-1] + "~"):
        with calling(server.port, token) as call:
            code, behind = call.refused("Retrieve", ask)
            assert code is grpc.StatusCode.UNAUTHENTICATED and behind["problem"]["status"] == 401
            stream = iter([says(start=pb.Start(input="audio"))])
            assert call.refused("StreamGenerate", stream)[0] is code
    with calling(server.port, server.tokens["reader"]) as call:
        assert call("Retrieve", ask).model == "gestures"
        denied = pb.GenerateRequest(text="hi"), pb.MotionFileRequest(id="0" * 32, format="npz")
        for method, request in zip(("Generate", "MotionFile"), denied, strict=True):
            code, behind = call.refused(method, request)
            assert code is grpc.StatusCode.PERMISSION_DENIED
            assert "generate" in behind["problem"]["detail"]
    # One quota for both doors.
    slow = {"authorization": f"Bearer {server.tokens['slow']}"}
    assert server.http.post("/v1/retrieve", json={"text": "hi"}, headers=slow).status_code == 200
    with calling(server.port, server.tokens["slow"]) as call:
        call("Retrieve", ask)
        code, behind = call.refused("Retrieve", ask)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert 1 <= int(behind["retry-after"]) <= 30
        assert int(behind["grpc-retry-pushback-ms"]) == 1000 * int(behind["retry-after"])


_NO_CLIP = "a:000000-000030"


@pytest.mark.parametrize(
    ("method", "asked", "code", "says"),
    [
        ("Retrieve", {}, _INVALID, "text"),
        ("Retrieve", {"text": "x" * 2001}, _INVALID, "at most 2000"),
        ("Retrieve", {"text": "hi", "k": 0}, _INVALID, "k"),
        ("Retrieve", {"text": "hi", "k": 2**40}, _INVALID, "at most 100"),
        ("Retrieve", {"text": "hi", "model": "other"}, _NOT_FOUND, "gestures"),
        ("RetrieveByMotion", {}, _INVALID, ""),
        ("RetrieveByMotion", {"npz": bomb()}, _INVALID, ""),
        ("RetrieveByMotion", {"npz": npz(poses=np.zeros(3)), "k": -1}, _INVALID, "k"),
        ("Generate", {}, _INVALID, "text"),
        ("Generate", {"text": "hi", "seed": -1}, _INVALID, "seed"),
        ("Generate", {"text": "hi", "temperature": float("nan")}, _INVALID, "temperature"),
        ("Generate", {"recording": {}}, _INVALID, ""),
        ("Generate", {"recording": {"audio": silence(3600)}}, _INVALID, "at most"),
        ("ClipFile", {"id": "../../etc/passwd", "format": "npz"}, _INVALID, "id"),
        ("ClipFile", {"id": _NO_CLIP, "format": "npz"}, _NOT_FOUND, _NO_CLIP),
        ("ClipFile", {"id": _NO_CLIP, "format": "exe"}, _INVALID, "format"),
        ("MotionFile", {"id": "0" * 32, "format": "npz"}, _NOT_FOUND, "no motion"),
    ],
)
def test_what_cannot_be_answered_is_told_why(call: Caller, method, asked, code, says) -> None:
    found, behind = call.refused(method, getattr(pb, f"{method}Request")(**asked))
    assert found is code and says in behind["problem"]["detail"]


def test_what_is_too_large_or_none_is_not_read(call: Caller) -> None:
    most = _LIMITS.body_bytes
    large = pb.RetrieveByMotionRequest(npz=bytes(most + 1))
    assert call.refused("RetrieveByMotion", large)[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    packed = pb.RetrieveByMotionRequest(npz=bytes(100 * most))
    code, _ = call.refused("RetrieveByMotion", packed, compression=grpc.Compression.Gzip)
    assert code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNIMPLEMENTED)
    raw = call.channel.unary_unary("/gestray.v1.Gestures/Retrieve")
    with pytest.raises(grpc.RpcError) as garbage:
        raw(b"\xff\xff garbage", metadata=call.metadata, timeout=10)
    assert garbage.value.code() is _INVALID
    with pytest.raises(grpc.RpcError) as unknown:
        call.channel.unary_unary("/gestray.v1.Gestures/Dance")(b"", timeout=10)
    assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert call("Retrieve", pb.RetrieveRequest(text="after")).gestures


_WHOLE = [pb.RetrieveRequest(text="a"), pb.RetrieveByMotionRequest(npz=b"PK", k=9)]
_SENT = st.binary(max_size=60) | st.sampled_from([x.SerializeToString() for x in _WHOLE])


@given(st.sampled_from(sorted(SCOPES)), st.lists(_SENT, max_size=3))
@settings(
    max_examples=80, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
def test_whatever_is_sent_is_no_fault_of_the_server(call: Caller, method, messages) -> None:
    sent = call.channel.stream_stream(f"/gestray.v1.Gestures/{method}")
    try:
        list(sent(iter(messages), metadata=call.metadata, timeout=10))
    except grpc.RpcError as error:
        assert error.code() in (_INVALID, _NOT_FOUND), error.details()


def test_a_message_is_not_waited_for_for_ever(call: Caller) -> None:
    silent, held = call.channel.stream_unary("/gestray.v1.Gestures/Retrieve"), threading.Event()

    def nothing() -> Iterator[bytes]:
        held.wait(10)
        yield b""

    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as late:
        silent(nothing(), metadata=call.metadata, timeout=10)
    held.set()
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "arrived" in late.value.details() and time.monotonic() - began < 5


@pytest.mark.parametrize("leaves", ["cancelled", "too late"])
def test_what_nobody_waits_for_is_not_computed(
    call: Caller, server: Server, leaves: str, monkeypatch
) -> None:
    moving, hops = server.service.moving, []
    compute, ongoing = moving.compute, server.service.telemetry.ongoing

    async def slowly(work: Any) -> Any:
        hops.append(1)
        await asyncio.sleep(0.05)
        return await compute(work)

    monkeypatch.setattr(moving, "compute", slowly)
    long = pb.GenerateRequest(recording=pb.Recording(audio=silence(60)))
    limits = {"metadata": call.metadata, "timeout": 30 if leaves == "cancelled" else 0.7}
    others = [call.stub.Generate.future(long, **limits) for _ in range(3)]
    while len(hops) < 3:
        time.sleep(0.01)
    for other in others if leaves == "cancelled" else ():
        other.cancel()
    for other in others:
        with pytest.raises((grpc.RpcError, grpc.FutureCancelledError)):
            other.result()
    deadline = time.monotonic() + 5
    while ongoing._value.get():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    before = len(hops)
    time.sleep(0.3)
    # Of more than a hundred; one of the queue may have had its first.
    assert len(hops) <= before + 2 < 40 and not moving.waiting


def test_beyond_its_queue_it_says_when_to_ask_again(call: Caller) -> None:
    long = pb.GenerateRequest(recording=pb.Recording(audio=silence(20)))
    asked = [call.stub.Generate.future(long, metadata=call.metadata) for _ in range(12)]
    refused = [other for other in asked if other.exception() is not None]
    assert 1 <= len(refused) <= 6 + 4
    for other in refused:
        assert other.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert int(dict(other.trailing_metadata())["retry-after"]) >= 1


def test_health_needs_no_key_and_means_that_models_are_there(server: Server, model: Model) -> None:
    states = health_pb2.HealthCheckResponse
    service = InProcess(model)
    service.models = {}
    config = ServingConfig(grpc_port=_free_port())
    with listening(make_api(service, config, None)), calling(config.grpc_port, None) as call:
        health = health_pb2_grpc.HealthStub(call.channel)
        assert health.Check(health_pb2.HealthCheckRequest()).status == states.NOT_SERVING
        found = call.refused("Retrieve", pb.RetrieveRequest(text="hi"))
        assert found[0] is grpc.StatusCode.UNAVAILABLE
        service.models = {model.name: model}
        named = health_pb2.HealthCheckRequest(service="gestray.v1.Gestures")
        assert health.Check(named).status == states.SERVING
        watching = health.Watch(named)
        assert next(watching).status == states.SERVING
        assert call("Retrieve", pb.RetrieveRequest(text="hi")).gestures
    # The server has been told to end: whoever watches knows first.
    with pytest.raises(grpc.RpcError):
        assert next(watching).status == states.NOT_SERVING
        next(watching)


def test_no_text_and_no_key_comes_into_the_log(call: Caller, server: Server, caplog) -> None:
    with caplog.at_level("INFO", logger="gestray.audit"):
        call("Retrieve", pb.RetrieveRequest(text="a secret thought"))
        time.sleep(0.1)
    assert '"path": "/gestray.v1.Gestures/Retrieve"' in caplog.text and '"GRPC"' in caplog.text
    assert "secret thought" not in caplog.text
    assert server.tokens["all"][-43:] not in caplog.text
