"""The study over HTTP: what participants get to know, what is kept, who is let in."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from scipy.stats import beta
from starlette.testclient import TestClient

from gestray.artifacts import Artifact, open_artifact, run_stage
from gestray.store import Folder
from jobs.study_report import ReportConfig, report_stage
from serving.study.app import make_app
from serving.study.desk import Answers, Desk
from serving.study.plan import showings
from tests.serving.study.studies import NAMES, bearer, make_study, served


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return make_study(tmp_path_factory.mktemp("study"), participants=200, pairs_each=4)


@pytest.fixture
def study(made: Artifact, tmp_path: Path) -> Artifact:
    """The study in a store of the test's own."""
    folder = Path(made.uri)
    copy = shutil.copytree(folder, tmp_path / "store" / folder.parent.name / folder.name)
    return open_artifact(Folder(str(copy)))


def everything(client: TestClient, places: int) -> list[tuple[str, bytes, str]]:
    """Path, body and headers of all that a participant can ask for."""
    paths = ["", "study.js", "study.css", "api/session"]
    for place in range(places):
        paths += [f"api/pairs/{place}", f"api/pairs/{place}/audio"]
        paths += [f"api/pairs/{place}/{side}" for side in ("left", "right")]
    answers = [(path, client.get(f"/{path}")) for path in paths]
    assert all(answer.status_code == 200 for _, answer in answers)
    return [(path, answer.content, str(answer.headers)) for path, answer in answers]


def test_nothing_that_is_sent_names_a_method(study: Artifact) -> None:
    desk = Desk(study)
    secret = [*NAMES, *(study.manifest.config["sources"]), "talk0", study.manifest.identity]
    with TestClient(make_app(desk), headers=bearer(desk.token(3))) as client:
        for path, body, headers in everything(client, 5):
            sent = body + headers.encode() + path.encode()
            for name in secret:
                assert name.encode() not in sent, (path, name)
        answered = client.put("/api/pairs/0", json={"choices": {"overall": "left"}})
        refused = client.put("/api/pairs/0", json={"choices": {"overall": "quietmethod"}})
        assert answered.status_code == 200 and refused.status_code == 422
        assert not any(name in answered.text + refused.text for name in NAMES)


def test_sides_differ_in_nothing_but_the_motion(study: Artifact) -> None:
    """Same size, same headers; and with the methods exchanged, the same with sides exchanged."""
    desk = Desk(study)
    plan = desk.plan
    with TestClient(make_app(desk), headers=bearer(desk.token(5))) as client:
        for place, showing in enumerate(showings(plan, 5)):
            left, right = (client.get(f"/api/pairs/{place}/{side}") for side in ("left", "right"))
            assert left.headers == right.headers
            assert len(left.content) == len(right.content) and left.content != right.content
            first = desk.media(f"{showing.pair:04d}-0.turns")
            assert (left.content == first) != showing.swapped


def test_only_who_has_a_link_is_let_in(study: Artifact) -> None:
    desk = Desk(study)
    tokens = [desk.token(n) for n in range(desk.plan.participants)]
    assert len(set(tokens)) == 200 and all(len(token) == 24 for token in tokens)
    with TestClient(make_app(desk)) as client:
        assert client.get("/").status_code == 200
        for wrong in ("", tokens[0][:-1], tokens[0] + "A", desk.token(200), "0", "é"):
            found = client.get(
                "/api/session", headers=[(b"authorization", f"Bearer {wrong}".encode())]
            )
            assert found.status_code == 401
        headers = bearer(tokens[0])
        for path in ("api/pairs/5", "api/pairs/0/up", "api/pairs/0/left/npz"):
            assert client.get(f"/{path}", headers=headers).status_code == 404
        long = client.put("/api/pairs/0", content=b" " * 5000, headers=headers)
        assert long.status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b'{"choices": {}}', b'{"choices": {"beauty": "left"}}',
        b'{"choices": {"overall": "up"}}', b'{"choices": {"overall": "same"}}',
        b'{"choices": {"overall": "left"}, "method": 1}',
        b'{"choices": {"overall": "left"}, "seconds": -1}',
        b'{"choices": {"overall": "left"}, "seconds": NaN}',
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused_and_not_kept(study: Artifact, body: bytes) -> None:
    desk = Desk(study)
    with TestClient(make_app(desk), headers=bearer(desk.token(0))) as client:
        assert client.put("/api/pairs/0", content=body).status_code == 422
    assert Answers(study).read() == {}


def test_what_was_answered_outlives_the_server_s_death(study: Artifact, tmp_path: Path) -> None:
    """SIGKILL in the midst of answering: all that was acknowledged is there afterwards."""
    links = tmp_path / "links.csv"
    command = [sys.executable, "-m", "jobs.cli", "study", "serve", "--study", study.uri]
    command += ["--port", "0", "--links", str(links)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    try:
        assert server.stdout is not None
        first = server.stdout.readline().removeprefix("first link: ").strip()
        address, _, token = first.partition("#p=")
        assert links.read_text().splitlines()[1] == f"0,{first}"
        acknowledged = 0
        with httpx.Client(base_url=address, headers=bearer(token)) as client:
            for place in range(4):
                choices = {"overall": "left", "diversity": "right"}
                client.put(f"api/pairs/{place}", json={"choices": choices}).raise_for_status()
                acknowledged += 1
            server.send_signal(signal.SIGKILL)
            server.wait(timeout=20)
    finally:
        server.kill()
        server.wait(timeout=20)
    desk = Desk(study)
    assert desk.token(0) == token  # the link still holds
    with TestClient(make_app(desk), headers=bearer(token)) as client:
        for place in range(acknowledged):
            found = client.get(f"/api/pairs/{place}").json()["choices"]
            assert found == {"overall": "left", "diversity": "right"}
        assert client.get("/api/session").json()["done"] == [False] * 5
        client.put("/api/pairs/0", json={"choices": {"overall": "right"}})
    # Two servers have written; the last word stands, and the first has lost nothing.
    [lines] = Answers(study).read().values()
    assert len(lines) == 5 and Desk(study).sheet(0).choices(0)["overall"] == "right"


def simulate(address: str, desk: Desk, raters: int, preference: float, careless: int) -> int:
    """Raters who prefer the second method with a probability; how often they did.

    The first few do not watch: they fail their attention check, and are not counted.
    """
    rng = np.random.default_rng(5)
    preferred = 0
    with httpx.Client(base_url=address) as client:
        for who in range(raters):
            headers = bearer(desk.token(who))
            session = client.get("api/session", headers=headers).json()
            for place, showing in enumerate(showings(desk.plan, who)):
                url = f"api/pairs/{place}"
                message = client.get(url, headers=headers).json()["message"]
                second = bool(rng.random() < preference)
                choice = "left" if second == showing.swapped else "right"
                if message:
                    asked = "left" if "LEFT" in message["text"] else "right"
                    choice = asked if who >= careless else {"left": "right"}.get(asked, "left")
                elif who >= careless:
                    preferred += second
                said = {"choices": dict.fromkeys(session["questions"], choice), "seconds": 9}
                answer = client.put(url, json=said, headers=headers)
                answer.raise_for_status()
            assert answer.json()["thanks"]
    return preferred


def test_two_hundred_raters_with_a_known_preference(study: Artifact) -> None:
    """72.2 % prefer the second method: the report says so, over the real HTTP API."""
    desk = Desk(study)
    careless = 8
    with served(make_app(desk)) as address:
        preferred = simulate(address, desk, 200, 0.722, careless)
    target = Folder(study.uri.rsplit("/", 2)[0])
    stage = report_stage(study)
    made = run_stage(stage, target, "study", ReportConfig(), {"study": study}).artifact
    report = json.loads(made.folder.read_bytes("report.json"))
    assert report["methods"] == list(NAMES)
    decided = 4 * (200 - careless)
    assert report["people"]["counted"] == 200 - careless
    assert report["people"]["failed attention checks"] == careless
    for found in report["overall"].values():
        assert (found["first"], found["second"]) == (decided - preferred, preferred)
        assert found["share"] == pytest.approx(1 - preferred / decided)
        low, high = found["interval"]
        assert low < 1 - 0.722 < high and high - low < 0.07
        assert low == pytest.approx(beta.ppf(0.025, decided - preferred, preferred + 1))
        assert high == pytest.approx(beta.ppf(0.975, decided - preferred + 1, preferred))
        assert found["p_value"] < 1e-30
        people_low, people_high = found["by_people"]
        assert people_low < 1 - 0.722 < people_high
    # Each pair by itself, and the sides, which nobody preferred.
    assert sum(item["preferences"]["overall"]["second"] for item in report["items"]) == preferred
    assert report["left"]["p_value"] > 0.01 / 5
    markdown = made.folder.read_bytes("report.md").decode()
    assert "| overall |" in markdown and "< 0.0001" in markdown
    page = made.folder.read_bytes("report.html").decode()
    assert "loudmethod" in page and "<svg" in page
    assert run_stage(
        report_stage(study), target, "study", ReportConfig(), {"study": study}
    ).up_to_date
