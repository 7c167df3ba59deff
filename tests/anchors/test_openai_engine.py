"""The engine at the end of a URL, against a real HTTP server."""

from __future__ import annotations

import socket
import time

import pytest

from gestray.anchors import openai_engine
from gestray.anchors.engines import Instructions, Question, Sampling
from gestray.anchors.openai_engine import OpenAIConfig, OpenAIEngine
from gestray.config import make_config
from gestray.errors import UserError
from tests.anchors.engines import GOOD, Server, completion

TOLD = Instructions("be brief", '{"type": "object"}')
QUESTIONS = [Question(str(number), f"question {number}") for number in range(20)]


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(openai_engine, "PAUSES_S", (0.01, 0.01))


def ask(server: Server, questions=QUESTIONS, **changes):
    engine = OpenAIEngine(OpenAIConfig(url=server.url, model="m", **changes))
    return [
        answer
        for answers in engine.answer(TOLD, questions, Sampling(max_tokens=99, seed=5))
        for answer in answers
    ]


def test_every_question_is_asked_once_and_no_more_at_a_time_than_allowed(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")

    def slowly(body):
        time.sleep(0.02)
        return 200, completion(body["messages"][1]["content"])

    with Server(slowly) as server:
        answers = ask(server, concurrency=4)

    assert {answer.key: answer.text for answer in answers} == dict(QUESTIONS)
    assert set(server.calls.values()) == {1}
    assert 2 <= server.most_at_once <= 4
    body = server.seen[0]
    assert body["messages"][0] == {"role": "system", "content": "be brief"}
    assert (body["model"], body["temperature"], body["max_tokens"], body["seed"]) == ("m", 0, 99, 5)
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert server.headers[0]["Authorization"] == "Bearer a-key"


def test_no_key_is_sent_where_there_is_none(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with Server() as server:
        [answer] = ask(server, QUESTIONS[:1])

    assert (answer.text, answer.cut_off, answer.tokens) == (GOOD, False, 90)
    assert "Authorization" not in server.headers[0]


def test_an_answer_that_ran_out_of_tokens_is_cut_off():
    with Server(lambda body: (200, completion("{", "length"))) as server:
        assert ask(server, QUESTIONS[:1])[0].cut_off


def test_a_server_that_falters_is_asked_again():
    statuses = iter([503, 429])

    with Server(lambda body: (next(statuses, 200), completion(GOOD))) as server:
        answers = ask(server, QUESTIONS[:5], concurrency=1)

    assert len(answers) == 5
    assert len(server.seen) == 7


def test_one_question_that_is_refused_is_that_alone():
    def reply(body):
        if body["messages"][1]["content"] == "question 9":
            return 400, {"error": {"message": "maximum context length exceeded"}}
        return 200, completion(GOOD)

    with Server(reply) as server:
        answers = ask(server)

    assert {a.key: a.refusal for a in answers if a.refusal} == {
        "9": "maximum context length exceeded"
    }


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        ((500, "down"), "does not answer: status 500, down, 3 times"),
        ((401, {"error": {"message": "no such key"}}), "status 401, no such key. Check openai.url"),
        ((400, {"error": "response_format is unknown"}), "takes no question at all: .*unknown"),
        ((200, "<html>hello</html>"), "found '<html>hello</html>', expected a chat completion"),
        ((200, {"choices": []}), "expected a chat completion"),
    ],
)
def test_a_server_that_cannot_work_ends_the_run(reply, complaint):
    with Server(lambda body: reply) as server, pytest.raises(UserError, match=complaint):
        ask(server)


def test_no_server_at_all():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    engine = OpenAIEngine(OpenAIConfig(url=f"http://127.0.0.1:{port}/v1", model="m"))

    with pytest.raises(UserError, match=r"does not answer: ConnectError.*give the command again"):
        list(engine.answer(TOLD, QUESTIONS, Sampling()))


def test_configs_that_cannot_work_are_refused():
    with pytest.raises(UserError, match=r"openai\.model is missing"):
        OpenAIEngine(OpenAIConfig())
    for url in ("ftp://host/v1", "http://user:secret@host/v1", "http://host/v1?key=secret"):
        with pytest.raises(UserError, match="url"):
            make_config(OpenAIConfig, {"url": url, "model": "m"})


def test_where_the_work_is_done_is_part_of_the_identity_but_not_how_fast():
    one, two = (OpenAIEngine(OpenAIConfig(model="m", concurrency=c)) for c in (1, 2))
    assert one.identity() == two.identity()
    assert one.identity() != OpenAIEngine(OpenAIConfig(model="n")).identity()
