"""The application on Ray Serve: the same answers in batches, and no more than it can take."""

from __future__ import annotations

import io
import socket
import threading
import time
import wave
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import grpc
import httpx
import numpy as np
import pytest
from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from gestray.artifacts import Artifact
from gestray.client import Client
from gestray.client.v1 import gestray_pb2 as pb
from gestray.store import Folder
from serving.config import Limits, Load, ServingConfig
from serving.keys import make_key, write_keys
from serving.library import Model, load_model
from tests.jobs.conftest import gestray
from tests.serving.grpc_calls import Talk as GrpcTalk
from tests.serving.grpc_calls import calling
from tests.serving.test_stream import Talk

__all__ = ["gestray"]

pytestmark = pytest.mark.ray

_LOAD = Load(replicas=2, ongoing=8, queued=8, batch=8, batch_wait_s=0.02)


class OverWire:
    """A socket of the library `websockets` as those of Starlette's test client are."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.send_text = self.send_bytes = socket.send

    def receive(self) -> dict[str, object]:
        try:
            message = self.socket.recv(timeout=30)
        except ConnectionClosed as closed:
            assert closed.rcvd is not None
            return {
                "type": "websocket.close",
                "code": closed.rcvd.code,
                "reason": closed.rcvd.reason,
            }
        return {"type": "websocket.send", "text" if isinstance(message, str) else "bytes": message}

    def vanish(self) -> None:
        """End without a word."""
        self.socket.socket.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module", autouse=True)
def slow_head(deployed: Deployed) -> Iterator[socket.socket]:
    """A head that begins with the first test and never ends."""
    at = ("127.0.0.1", deployed.http.base_url.port)
    with socket.create_connection(at) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: ")
        yield connection


class Deployed(NamedTuple):
    """The application: a client with a key, that key, and where it is over gRPC."""

    http: httpx.Client
    token: str
    grpc_port: int


@pytest.fixture(scope="module")
def service(deployed: Deployed) -> httpx.Client:
    return deployed.http


@pytest.fixture(scope="module")
def deployed(ray_cluster: str, store: Folder, model: Model, tmp_path_factory) -> Iterator[Deployed]:
    """`gestray serve`'s application on the session's cluster."""
    from ray import serve
    from ray.serve.config import HTTPOptions, ProxyLocation

    from serving.app import application
    from tests.conftest import _free_port

    key, token = make_key("test", ("retrieve", "generate", "admin"), 100_000)
    file = Path(tmp_path_factory.mktemp("keys")) / "keys.json"
    write_keys([key], file)
    config = ServingConfig(
        store=store.uri,
        # Not the newest: other tests make others.
        models={model.name: model.artifact.uri},
        generators={"semtalk": store.child(store.list("generator")[0]).uri},
        keys=str(file),
        port=_free_port(),
        grpc_port=_free_port(),
        load=_LOAD,
        limits=Limits(streams=2),
    )
    options = HTTPOptions(host=config.host, port=config.port)
    serve.start(proxy_location=ProxyLocation.HeadOnly, http_options=options)
    serve.run(application(config), name="test", route_prefix="/")
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(
        base_url=f"http://127.0.0.1:{config.port}", headers=headers, timeout=60
    ) as client:
        yield Deployed(client, token, config.grpc_port)
    serve.shutdown()


def test_a_batch_answers_what_one_alone_is_answered(service: httpx.Client, model: Model) -> None:
    assert service.get("/readyz").json() == {"status": "ready"}
    texts = model.gestures.rows["text"].to_pylist()[:8]

    def ask(text: str) -> list[str]:
        answer = service.post("/v1/retrieve", json={"text": text, "k": 3})
        assert answer.status_code == 200, answer.text
        return [gesture["id"] for gesture in answer.json()["gestures"]]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(ask, texts))
    alone = [
        [hit.phrase_id for hit in model.gestures.search(model.embed_texts([text]), 3)[0]]
        for text in texts
    ]
    assert together == alone


def test_beyond_its_queue_it_says_when_to_ask_again(service: httpx.Client) -> None:
    def ask(number: int) -> httpx.Response:
        return service.post("/v1/retrieve", json={"text": f"text {number} " * 60})

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(ask, range(192)))
    codes = {answer.status_code for answer in answers}
    assert codes == {200, 429}
    busy = next(answer for answer in answers if answer.status_code == 429)
    assert int(busy.headers["retry-after"]) >= 1
    assert service.post("/v1/retrieve", json={"text": "after"}).status_code == 200


def test_grpc_answers_as_http_does_from_whichever_replica(deployed: Deployed, model: Model) -> None:
    text = model.gestures.rows["text"][2].as_py()
    found = deployed.http.post("/v1/retrieve", json={"text": text, "k": 3}).json()
    expected = [gesture["id"] for gesture in found["gestures"]]
    made = deployed.http.post("/v1/generate", json={"text": "Stop!", "seed": 2}).json()
    for _ in range(6):  # connections, each of either replica
        with calling(deployed.grpc_port, deployed.token) as call:
            answer = call("Retrieve", pb.RetrieveRequest(text=text, k=3))
            assert [gesture.id for gesture in answer.gestures] == expected
            asked = pb.MotionFileRequest(id=made["id"], format="wav")
            pieces = [piece.content for piece in call("MotionFile", asked)]
            assert len(b"".join(pieces)) > 1000
    with calling(deployed.grpc_port, deployed.token) as call:
        motion = call("Generate", pb.GenerateRequest(text="Stop!", seed=2))
        assert motion.frames == made["frames"] and list(motion.meaning) == made["meaning"]
        talk = GrpcTalk(call)
        talk.say(start=pb.Start(input="text", seed=2))
        talk.say(text="Stop!")
        talk.close()
        assert talk.listen("ended").motion.frames == made["frames"]


def test_a_head_is_not_waited_for_for_ever(service: httpx.Client, slow_head: socket.socket) -> None:
    """Serve's own proxy has no such limit."""
    slow_head.settimeout(15)
    assert slow_head.recv(4096).startswith(b"HTTP/1.1 408")
    assert slow_head.recv(4096) == b""


@contextmanager
def streaming(service: httpx.Client) -> Iterator[Talk]:
    """A stream through Serve's proxy."""
    url = f"ws://127.0.0.1:{service.base_url.port}/v1/generate/stream"
    token = service.headers["authorization"].removeprefix("Bearer ")
    protocols = [Subprotocol("gestray.v1"), Subprotocol(f"gestray.key.{token}")]
    with connect(url, subprotocols=protocols) as socket:
        yield Talk(OverWire(socket))


def test_a_stream_through_the_proxy_is_the_motion_of_the_whole(service: httpx.Client) -> None:
    made = service.post("/v1/generate", json={"text": "I have no idea.", "seed": 4}).json()
    kept = [service.get(f"/v1/motions/{made['id']}.npz").content for _ in range(2)]
    with np.load(io.BytesIO(kept[0])) as arrays:
        expected = arrays["poses"]
    with wave.open(io.BytesIO(service.get(f"/v1/motions/{made['id']}/audio").content)) as sound:
        pcm16 = sound.readframes(sound.getnframes())
    with streaming(service) as talk:
        talk.say("start", input="audio", seed=4)
        stream = talk.listen("started")["stream"]
        talk.say("words", words=made["words"])
        talk.socket.send_bytes(pcm16[:40_000])
        talk.listen("pose")
    with streaming(service) as again:
        again.chunks = talk.chunks
        again.say("resume", stream=stream, after=max(talk.chunks))
        known = 2 * again.listen("resumed")["samples"]
        again.socket.send_bytes(pcm16[known:])
        again.say("end")
        assert again.listen("end")["motion"]["frames"] == made["frames"]
    assert np.abs(again.poses - expected).max() < 1e-6


def test_streams_of_clients_that_vanish_make_room(service: httpx.Client) -> None:
    begun, deadline = 0, time.monotonic() + 20
    while begun < 6:  # and two at once have room
        assert time.monotonic() < deadline
        with suppress(WebSocketDisconnect, ConnectionClosed), streaming(service) as talk:
            talk.say("start", input="audio")
            talk.listen("started")
            talk.socket.send_bytes(bytes(32_000))
            begun += 1
            talk.socket.vanish()
    code = 4429
    while code == 4429 and time.monotonic() < deadline:
        with suppress(ConnectionClosed), streaming(service) as talk:
            talk.socket.send_text("garbage")
            with pytest.raises(WebSocketDisconnect) as closed:
                talk.listen("nothing")
            code = closed.value.code
    assert code == 4400 and "JSON" in closed.value.reason


def test_it_listens_on_loopback_alone_and_wants_a_key(
    deployed: Deployed, service: httpx.Client
) -> None:
    import psutil

    listening: dict[int, list[str]] = {service.base_url.port: [], deployed.grpc_port: []}
    for found in psutil.net_connections("tcp"):
        if found.status == psutil.CONN_LISTEN and found.laddr.port in listening:
            listening[found.laddr.port].append(found.laddr.ip.removeprefix("::ffff:"))
    # Both replicas are behind the one port of gRPC.
    assert list(listening.values()) == [["127.0.0.1"], ["127.0.0.1", "127.0.0.1"]]
    with calling(deployed.grpc_port, None) as stranger:
        code, _ = stranger.refused("Retrieve", pb.RetrieveRequest(text="hi"))
        assert code is grpc.StatusCode.UNAUTHENTICATED
    bare = httpx.post(f"{service.base_url}/v1/retrieve", json={"text": "hi"})
    assert bare.status_code == 401


def test_a_pair_is_swapped_in_both_replicas_under_requests(
    service: httpx.Client, model: Model, other_pair: Artifact, gestray
) -> None:
    """Nobody is refused, nobody is answered by two pairs, nobody goes back to the old one."""
    other = load_model("gestures", other_pair.uri)
    pairs = {(m.source["index"], m.source["encoder"]): m for m in (model, other)}
    texts, answers, stop = model.gestures.rows["text"].to_pylist()[:6], [], threading.Event()

    def ask(number: int) -> None:
        with Client(url, token) as client:
            while not stop.is_set():
                began = time.monotonic()
                found = client.retrieve(texts[number], 3)
                answers.append((began, time.monotonic(), number, found))

    url, token = str(service.base_url), service.headers["authorization"].removeprefix("Bearer ")
    with ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(ask, number) for number in range(6)]
        time.sleep(1)
        name = other_pair.uri.rpartition("/")[2]
        swapped = gestray("serve", "swap", name, "--url", url, "--key", token, "--json")
        time.sleep(2)
        stop.set()
        for each in asking:
            each.result()
    assert swapped.code == 0 and len(swapped.json["replicas"]) == 2
    assert swapped.json["models"]["gestures"]["live"] == name
    expected = {
        (pair, n): [h.phrase_id for h in m.gestures.search(m.embed_texts([text]), 3)[0]]
        for pair, m in pairs.items()
        for n, text in enumerate(texts)
    }
    new = (other.source["index"], other.source["encoder"])
    first_new = min(end for _, end, _, found in answers if found.source["index"] == new[0])
    for began, _, number, found in answers:
        pair = (found.source["index"], found.source["encoder"])
        assert [g.id for g in found.gestures] == expected[pair, number]
        assert pair == new or began < first_new + 0.1  # clocks of two processes
    assert len({found.source["index"] for *_, found in answers}) == 2
