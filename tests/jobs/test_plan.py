"""`gestray plan anchors`, with a server as its engine: what it asks, keeps and foretells."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from gestray.anchors.engines import Answer, Instructions, Question, Sampling
from jobs import plan as plans
from tests.anchors.engines import GOOD, Scripted, Server, completion
from tests.jobs.test_ground import command, forms_artifact

TEXTS = [f"phrase {number}" for number in range(40)]


def reply(_body):
    time.sleep(0.02)
    body = completion(GOOD)
    body["usage"]["prompt_tokens"] = 1500
    return 200, body


def plan(gestray, store, server, *more):
    options = ["--grounder", "openai", "--model", "m", "--store", store, *more]
    return gestray("plan", "anchors", *options, f"openai.url={server.url}", "openai.concurrency=2")


def test_a_plan_asks_a_sample_and_the_run_pays_for_the_rest(tmp_path, gestray):
    forms_artifact(tmp_path, [*TEXTS, *TEXTS[:5]])
    with Server(reply) as server:
        prices = ("--prompt-price", "2", "--token-price", "10")
        first = plan(gestray, tmp_path, server, "--sample", "8", "--json", *prices).json
        asked = server.calls.total()
        run = gestray(*command(tmp_path, server)).json["metrics"]
        again = plan(gestray, tmp_path, server, "--json").json
        table = plan(gestray, tmp_path, server)

    assert (first["phrases"], first["equal"], first["answered"]) == (45, 5, 0)
    assert first["sampled"] == asked == 8
    left = first["left"]
    assert left["questions"] == 32
    assert left["tokens"] == {"value": 32 * 90, "low": 32 * 90, "high": 32 * 90}
    assert left["prompt_tokens"]["value"] == 32 * 1500
    assert left["price"]["value"] == pytest.approx((32 * 1500 * 2 + 32 * 90 * 10) / 1e6)
    assert 0.9 < first["shared_prompt"] < 1 and left["seconds"]["value"] > 32 * 0.02 / 2 * 0.5
    # What the plan asked is not asked again, and what it foretold is what was asked.
    assert (run["reused"], run["calls"], run["tokens"]) == (8, 32, left["tokens"]["value"])
    assert (again["answered"], again["sampled"], again["left"]["questions"]) == (40, 0, 0)
    assert again["left"]["tokens"]["value"] == 0
    assert "answered before" in table.out and "all is answered" in table.out


def test_rules_have_nothing_to_plan(tmp_path, gestray):
    forms_artifact(tmp_path, TEXTS[:2])
    outcome = gestray("plan", "anchors", "--grounder", "rules", "--store", tmp_path)
    assert outcome.code == 1 and "rules ask no model" in outcome.err


def test_the_start_of_an_engine_is_told_from_its_work(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(plans, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    class Starting(Scripted):
        def answer(self, *asked):
            clock[0] += 40
            for answers in super().answer(*asked):
                clock[0] += 3
                yield [answer._replace(seconds=3.0) for answer in answers]

    watch = plans.Stopwatch(Starting(say=lambda q, _: Answer(q.key, GOOD, tokens=90), block=1))
    questions = [Question(str(number), "q") for number in range(4)]
    for _ in range(2):  # the second time as a retry is asked
        assert sum(map(len, watch.answer(Instructions("", "{}"), questions, Sampling()))) == 4

    sample = watch.sample()

    assert (sample.tokens, sample.rounds) == ([180] * 4, 2)
    assert (sample.start_s, sample.work_s) == (40, 24)
