"""The server of the page: who may ask it, and what it makes of what it is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from gestray.artifacts import Artifact
from gestray.store import Folder
from jobs.desk import open_desk
from serving.review.app import make_app
from serving.review.guard import MOST_BYTES

TOKEN, PORT = "a-token", 8765
BASE = f"http://127.0.0.1:{PORT}"


@pytest.fixture
def stranger(anchors: Artifact) -> TestClient:
    """Knows the port, not the token."""
    store = Folder(str(Path(anchors.uri).parents[1]))
    desk = open_desk(store, anchors, "ann")
    return TestClient(make_app(desk, TOKEN, PORT), base_url=BASE, follow_redirects=False)


@pytest.fixture
def client(stranger: TestClient) -> TestClient:
    """Has opened the address that was printed."""
    assert stranger.get(f"/?token={TOKEN}").status_code == 303
    return stranger


def put(client: TestClient, number: int, value: Any, **headers: str) -> Any:
    return client.put(f"/api/anchors/{number}", json=value, headers=headers)


def test_the_token_opens_once_and_a_cookie_does_from_then_on(stranger):
    for path in ("/", "/?token=", "/?token=guess", "/page/main.js", "/api/session", "/absent"):
        assert stranger.get(path).status_code == 401
    assert stranger.get(f"/api/session?token={TOKEN}").status_code == 401  # at the page alone

    answer = stranger.get(f"/?token={TOKEN}")

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    page = stranger.get("/")
    assert (
        page.status_code == 200 and "script-src 'self'" in page.headers["content-security-policy"]
    )
    assert page.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": f"evil.example:{PORT}"}, 421),  # a name that was made to point here
        ({"Host": "127.0.0.1:1"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),  # another server of this machine
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": BASE, "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Host": f"localhost:{PORT}", "Origin": f"http://localhost:{PORT}"}, 200),
    ],
)
def test_pages_and_names_from_elsewhere_are_refused(client, headers, status):
    assert client.get("/api/session", headers=headers).status_code == status
    if status in (403, 421):
        assert put(client, 0, {"decision": "accept"}, **headers).status_code == status
        assert client.delete("/api/anchors/0", headers=headers).status_code == status
    assert client.get("/api/session").json()["anchors"]["decision"][0] == ""


def test_bodies_are_json_and_small(client):
    big = json.dumps({"decision": "accept", "x": "x" * MOST_BYTES})
    asked = {"content-type": "application/json"}

    assert client.put("/api/anchors/0", content=big, headers=asked).status_code == 413
    chunks = client.put("/api/anchors/0", content=iter([b"{}"]), headers=asked)
    assert chunks.status_code == 411
    assert client.put("/api/anchors/0", content="{}").status_code == 415


@pytest.mark.parametrize(
    "path", ["/page/..%2f..%2fdesk.py", "/page/%2e%2e/desk.py", "/page/absent.js", "/page/",
             "/api/anchors/999", "/api/anchors/-1", "/api/anchors/0x1", "/api/anchors/..%2f..",
             "/api/anchors/99999999999999999999/motion"],
)  # fmt: skip
def test_what_is_asked_for_is_never_a_path(client, path):
    assert client.get(path).status_code == 404


def test_every_file_of_the_page_is_there_and_asks_for_nothing_from_elsewhere(client):
    html = client.get("/").text
    for name in ("review.css", "main.js", "icon.svg"):
        assert f"/page/{name}" in html
    for name in ("review.css", "main.js", "editor.js", "player.js", "figure.js", "api.js"):
        answer = client.get(f"/page/{name}")
        assert answer.status_code == 200
        assert "http://" not in answer.text and "https://" not in answer.text


def test_an_anchor_is_shown_with_all_there_is(client, anchors):
    session, shown = client.get("/api/session").json(), client.get("/api/anchors/0").json()

    assert len(session["anchors"]["status"]) == anchors.manifest.rows_out
    assert session["annotator"] == "ann" and session["synthetic"] is True
    assert "negation" in session["intents"] and session["fields"]["hand"]["palm"][0] == "up"
    assert [word["word"] for word in shown["words"]] == shown["text"].split()
    assert shown["form_text"] and shown["mine"] is None
    motion = client.get("/api/anchors/0/motion")
    from_s, to_s = shown["at"]
    assert len(motion.content) == 12 + round((to_s - from_s) * 30) * 55 * 3 * 2


def test_decisions_are_checked_kept_and_taken_back(client, anchors):
    shown = client.get("/api/anchors/0").json()
    word = shown["text"].split()[0]
    intent = {"label": "negation", "sentence": " No. ", "words": [word.upper()], "confidence": 0.5}
    edit = {"decision": "edit", "form": shown["form"], "intent": intent}

    for change, complaint in [
        ({"label": "applause"}, "no label"),
        ({"sentence": " "}, "sentence is empty"),
        ({"words": ["unsaid"]}, "'unsaid' is not said"),
        ({"confidence": 2}, "intent.confidence"),
        ({"sentence": "x" * 241}, "intent.sentence"),
        ({"more": 1}, "intent.more"),
    ]:
        refused = put(client, 0, edit | {"intent": intent | change})
        assert refused.status_code == 422 and complaint in refused.json()["problem"], change
    assert put(client, 0, {"decision": "edit"}).status_code == 422
    wrong = shown["form"] | {"handedness": "left", "left": None, "right": None}
    assert "does not fit the hands" in put(client, 0, edit | {"form": wrong}).json()["problem"]

    done = put(client, 0, edit).json()
    assert done["position"] == {"decision": "edit", "disagrees": False}
    assert done["mine"]["intent"]["sentence"] == "No."
    same = {"decision": "edit", "form": shown["form"], "intent": shown["intent"]}
    assert put(client, 0, same).json()["position"]["decision"] == "accept"  # nothing is changed
    assert put(client, 1, {"decision": "reject"}).json()["mine"]["form"] is None
    assert client.get("/api/session").json()["anchors"]["decision"][:2] == ["accept", "reject"]
    assert client.delete("/api/anchors/1").json()["position"]["decision"] == ""

    store = Folder(str(Path(anchors.uri).parents[1]))
    again = open_desk(store, anchors, "ann").session()["anchors"]["decision"]
    assert again[:2] == ["accept", ""]


def test_others_are_told_of_only_after_ones_own_decision(client, anchors):
    store = Folder(str(Path(anchors.uri).parents[1]))
    bo = open_desk(store, anchors, "bo")
    bo.decide(0, '{"decision": "reject"}')
    bo.decide(1, '{"decision": "accept"}')
    desk = open_desk(store, anchors, "ann")

    assert desk.anchor(0)["others"] == [] and not any(desk.session()["anchors"]["disagrees"])
    assert desk.decide(0, '{"decision": "accept"}')["others"][0]["annotator"] == "bo"
    assert desk.session()["anchors"]["disagrees"][:2] == [True, False]


def test_a_sentence_is_told_of_any_form(client):
    form = client.get("/api/anchors/0").json()["form"]
    asked = {"json": form | {"head": "nod"}}
    assert "the head nods" in client.post("/api/sentence", **asked).json()["sentence"]
    assert client.post("/api/sentence", json={"handedness": "three"}).status_code == 422


def test_clips_of_a_file_have_words_and_no_motion(anchors):
    """As `gestray anchors gold` makes them: there is no recording."""
    desk = open_desk(Folder(str(Path(anchors.uri).parents[1])), anchors, "ann")
    desk._recordings = None

    shown = desk.anchor(0)

    assert [word["word"] for word in shown["words"]] == shown["text"].split()
    assert {word["start_s"] for word in shown["words"]} == {None}
    client = TestClient(make_app(desk, TOKEN, PORT), base_url=BASE)
    client.get(f"/?token={TOKEN}")
    assert client.get("/api/anchors/0/motion").status_code == 204
