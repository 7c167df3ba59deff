"""The API: what it answers, and whom it refuses."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from gestray.encoders.towers.text import TextEncoder
from serving.api import make_api
from serving.config import Limits, ServingConfig
from serving.gate import Gate
from serving.keys import Keyring, make_key
from serving.library import Model
from serving.telemetry import Telemetry
from tests.serving.conftest import InProcess


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def problem(response, status: int) -> str:
    """The detail of a problem, which is whole and names its request."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status and body["request_id"] == response.headers["x-request-id"]
    return body["detail"]


def test_a_text_finds_what_the_index_finds(client: TestClient, model: Model) -> None:
    text = model.gestures.rows["text"][3].as_py()
    answer = client.post("/v1/retrieve", json={"text": text, "k": 4}).json()
    expected = model.gestures.search(model.embed_texts([text]), 4)[0]
    assert [g["id"] for g in answer["gestures"]] == [hit.phrase_id for hit in expected]
    assert answer["source"] == model.source and answer["model"] == "gestures"


def test_a_recorded_motion_finds_itself(client: TestClient, model: Model, takes) -> None:
    from gestray.corpora.take import motion_from_column
    from gestray.views.catalog import read_catalog, read_columns

    row = model.gestures.rows.slice(5, 1).to_pylist()[0]
    ref = next(r for r in read_catalog(takes) if r.take_id == row["take_id"])
    poses = motion_from_column(read_columns(takes, ref, ["poses"])["poses"])
    span = poses[round(row["start_s"] * 30) : round(row["end_s"] * 30)]
    answer = client.post("/v1/retrieve/by-motion?k=2", content=npz(poses=span)).json()
    assert answer["similar"][0]["id"] == row["phrase_id"]
    assert answer["similar"][0]["score"] == pytest.approx(1, abs=1e-3)
    assert len(answer["texts"]) == 2


def test_a_clip_has_its_words_its_motion_and_no_sound(client: TestClient, model: Model) -> None:
    row = model.gestures.rows.slice(0, 1).to_pylist()[0]
    clip = client.get(f"/v1/clips/{row['phrase_id']}").json()
    assert " ".join(word["word"] for word in clip["words"]) == row["text"]
    length = row["end_s"] - row["start_s"]
    assert all(-0.1 <= w["start_s"] <= w["end_s"] <= length + 0.1 for w in clip["words"])
    packed = client.get(f"/v1/clips/{row['phrase_id']}/motion").content
    frames, joints, fps = struct.unpack_from("<IIf", packed)
    assert (frames, joints, fps) == (round(30 * length), 55, 30)
    assert len(packed) == 12 + 2 * 3 * frames * joints
    turns = client.get(f"/v1/clips/{row['phrase_id']}/turns").content
    assert turns[:12] == packed[:12] and len(turns) == 12 + 2 * 4 * frames * joints
    assert not clip["has_audio"]
    problem(client.get(f"/v1/clips/{row['phrase_id']}/audio"), 404)


def test_only_files_that_can_be_made_are_offered(client, model: Model, monkeypatch) -> None:
    path = f"/v1/clips/{model.gestures.rows['phrase_id'][0].as_py()}"
    monkeypatch.setattr("serving.motions.formats", lambda: ("npz", "bvh"))
    assert client.get(path).json()["formats"] == ["npz", "bvh"]
    assert client.get(f"{path}/export.npz").status_code == 200
    refused = client.get(f"{path}/export.mp4")
    problem(refused, 404)
    assert "gestray[video]" in refused.json()["detail"]


@pytest.mark.parametrize(
    "phrase",
    [
        "nobody:000000-000030",
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "a:0-1",
        "%00",
        "x" * 400,
    ],
)
def test_an_id_that_is_none_opens_nothing(client: TestClient, phrase: str) -> None:
    for part in ("", "/motion", "/turns", "/audio"):
        assert client.get(f"/v1/clips/{phrase}{part}").status_code in (404, 422)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"text": ""}, 422, "text"),
        ({"text": "x" * 2001}, 422, "at most 2000"),
        ({"text": "hi", "k": 0}, 422, "k"),
        ({"text": "hi", "k": 101}, 422, "at most 100"),
        ({"text": "hi", "kk": 1}, 422, "kk"),
        ({"text": 7}, 422, "text"),
        ({"text": "hi", "model": "other"}, 404, "gestures"),
        ({}, 422, "text"),
    ],
)
def test_a_wrong_question_is_told_what_is_wrong(
    client: TestClient, body: dict, status: int, says: str
) -> None:
    assert says in problem(client.post("/v1/retrieve", json=body), status)


def test_a_body_that_is_no_json_is_a_bad_request(client: TestClient) -> None:
    headers = {"content-type": "application/json"}
    problem(client.post("/v1/retrieve", content=b"{", headers=headers), 400)


class Boom:
    def __reduce__(self):
        raise AssertionError("never pickled")


def bomb() -> bytes:
    """An archive of 200 kB at most that says it holds a gigabyte."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        header = np.lib.format
        data = io.BytesIO()
        header.write_array_header_1_0(
            data, {"descr": "<f4", "fortran_order": False, "shape": (40_000, 165)}
        )
        archive.writestr("poses.npy", data.getvalue() + bytes(40_000 * 165 * 4))
    return file.getvalue()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not an archive",
        pickle.dumps({"poses": [1]}),
        npz(other=np.zeros(3)),
        npz(poses=np.zeros((10, 7))),
        npz(poses=np.full((10, 165), np.nan)),
        npz(poses=np.full((10, 165), 1e9)),
        npz(poses=np.zeros((1, 165))),
        bomb(),
        npz(poses=np.zeros((10, 165)))[:-40],
    ],
    ids=["empty", "text", "pickle", "no poses", "shape", "nan", "huge", "short", "bomb", "cut"],
)
def test_a_motion_that_is_none_is_refused(client: TestClient, body: bytes) -> None:
    assert len(body) < 200_000
    problem(client.post("/v1/retrieve/by-motion", content=body), 422)


def test_a_body_may_not_grow_beyond_its_limit(client: TestClient) -> None:
    problem(client.post("/v1/retrieve/by-motion", content=bytes(200_001)), 413)

    def pieces():
        for _ in range(30):
            yield bytes(10_000)

    # Sent in chunks, without its length.
    problem(client.post("/v1/retrieve/by-motion", content=pieces()), 413)


def test_only_a_key_with_the_scope_may_ask(model: Model) -> None:
    reader, token = make_key("reader", ("generate",), 100)
    slow, slow_token = make_key("slow", ("retrieve",), 2)
    app = make_api(InProcess(model), ServingConfig(), Keyring.of([reader, slow]))
    ask = {"text": "hi"}
    with TestClient(app) as client:
        without = client.post("/v1/retrieve", json=ask)
        problem(without, 401)
        assert without.headers["www-authenticate"] == "Bearer"
        wrong = {"authorization": f"Bearer {token[:-1]}~"}
        problem(client.post("/v1/retrieve", json=ask, headers=wrong), 401)
        other = {"authorization": f"Bearer {token}"}
        assert "retrieve" in problem(client.post("/v1/retrieve", json=ask, headers=other), 403)
        often = {"authorization": f"Bearer {slow_token}"}
        answers = [client.post("/v1/retrieve", json=ask, headers=often) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        problem(answers[2], 429)
        assert 1 <= int(answers[2].headers["retry-after"]) <= 30
        # The page and health are for everybody: there is nothing in them.
        assert client.get("/").status_code == client.get("/healthz").status_code == 200
        assert client.get("/page.css").status_code == 200
        assert client.get("/assets/avatar.glb").content[:4] == b"glTF"


def test_a_swap_names_an_index_of_the_store_and_needs_an_admin(
    model: Model, store, other_pair
) -> None:
    boss, token = make_key("boss", ("admin",), 1000)
    reader, other = make_key("reader", ("retrieve", "generate"), 1000)
    service = InProcess(model)
    config = ServingConfig(store=store.uri)
    app = make_api(service, config, Keyring.of([boss, reader]))
    wanted = other_pair.uri.rpartition("/")[2]
    with TestClient(app, headers={"authorization": f"Bearer {token}"}) as client:
        as_reader = {"authorization": f"Bearer {other}"}
        problem(client.get("/v1/admin/models", headers=as_reader), 403)
        problem(client.post("/v1/admin/models", headers=as_reader, json={"index": wanted}), 403)
        for index in (
            "../../etc/passwd-0123456789ab",
            "file:///x-0123456789ab",
            "x",
            other_pair.uri,
        ):
            problem(client.post("/v1/admin/models", json={"index": index}), 422)
        problem(client.post("/v1/admin/models", json={"index": "gestures-0123456789ab"}), 404)
        problem(client.post("/v1/admin/models", json={"index": wanted, "share": 1.5}), 422)
        asked = {"index": wanted, "model": "none"}
        assert "gestures" in problem(client.post("/v1/admin/models", json=asked), 404)
        begun = client.post("/v1/admin/models", json={"index": wanted, "share": 0.2})
        assert begun.status_code == 202
        release = client.get("/v1/admin/models").json()["models"]["gestures"]
        live = model.artifact.uri.rpartition("/")[2]
        assert release == {"live": live, "next": wanted, "share": 0.2, "ready": False}


def test_pages_of_other_origins_are_not_answered(model: Model) -> None:
    asks = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    closed = make_api(InProcess(model), ServingConfig(), None)
    open_ = make_api(
        InProcess(model), ServingConfig(allow_origins=("https://friend.example",)), None
    )
    allow = "access-control-allow-origin"
    with TestClient(closed) as client:
        assert allow not in client.options("/v1/retrieve", headers=asks).headers
        assert client.get("/").headers["x-frame-options"] == "DENY"
    with TestClient(open_) as client:
        assert allow not in client.options("/v1/retrieve", headers=asks).headers
        friend = asks | {"origin": "https://friend.example"}
        assert client.options("/v1/retrieve", headers=friend).headers[allow] == friend["origin"]


def test_web_sockets_without_a_key_end_at_the_gate(key) -> None:
    async def app(connection, receive, send) -> None:
        raise AssertionError("never asked")

    client = TestClient(Gate(app, Keyring.of([key[0]]), Limits(), 30, Telemetry()))
    with client.websocket_connect("/v1/any") as socket:
        assert socket.receive_json()["status"] == 401
        with pytest.raises(WebSocketDisconnect) as refused:
            socket.receive_json()
    assert refused.value.code == 4401


def test_until_its_models_are_there_it_is_not_ready(model: Model) -> None:
    service = InProcess(model)
    service.models = {}
    with TestClient(make_api(service, ServingConfig(), None)) as client:
        assert client.get("/healthz").status_code == 200
        problem(client.get("/readyz"), 503)
        problem(client.post("/v1/retrieve", json={"text": "hi"}), 503)


def test_no_text_and_no_key_comes_into_the_log(client: TestClient, key, caplog) -> None:
    with caplog.at_level("INFO", logger="gestray.audit"):
        client.post("/v1/retrieve", json={"text": "a secret thought"})
        client.post("/v1/retrieve", json={"text": 1}, headers={"authorization": "Bearer sesame"})
    assert '"path": "/v1/retrieve"' in caplog.text and key[0].id in caplog.text
    for secret in ("secret thought", key[1][-43:], "sesame"):
        assert secret not in caplog.text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5"])
def test_others_are_let_in_only_with_keys(host: str) -> None:
    from gestray.errors import UserError

    with pytest.raises(UserError, match="keys"):
        ServingConfig(host=host).check()
    ServingConfig(host=host, keys="keys.json").check()
    ServingConfig(host="127.0.0.1").check()


def test_a_model_forgets_the_texts_it_was_asked(model: Model) -> None:
    """What a frozen text model keeps in training would be a leak here."""
    model.embed_texts([f"text number {n}" for n in range(5)])
    texts = [module for module in model.encoder.modules() if isinstance(module, TextEncoder)]
    assert texts
    assert not any(text._known.sentences or text._known.words for text in texts)
