"""The policy of asking: each question once, retries, refusals, and nothing lost with a run.

The engine is a scripted one: what real ones do with the same policy is in
test_openai_engine.py and tests/jobs/test_vllm_grounding.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gestray.anchors.anchor import Anchor, anchor_schema, from_row
from gestray.anchors.cache import CACHE
from gestray.anchors.engines import Answer, Question, Sampling
from gestray.anchors.grounding import LanguageModelGrounder
from gestray.anchors.prompting import PromptConfig
from gestray.anchors.taxonomy import load_taxonomy
from gestray.errors import UserError
from gestray.form import HandForm, Location, PhysicalForm, Trajectory
from gestray.store import Folder
from tests.anchors.engines import GOOD, Scripted

RIGHT = PhysicalForm(
    handedness="right",
    right=HandForm(
        location=Location(zone="centre", height="chest", side="right", reach="medium"),
        palm="up",
        shape="flat",
        trajectory=Trajectory(
            path="straight", direction="up", repetitions=1, amplitude="large", speed="slow"
        ),
    ),
)
REST = PhysicalForm(handedness="none")


def phrases(*texts: str | None, form: PhysicalForm = RIGHT) -> pa.Table:
    names = ("phrase_id", "text", "form", "form_text")
    return pa.table(
        {
            "phrase_id": [f"p{number}" for number in range(len(texts))],
            "text": texts,
            "form": [form.model_dump_json()] * len(texts),
            "form_text": ["The right hand rises."] * len(texts),
        },
        pa.schema([(name, pa.string()) for name in names]),
    )


def ground(
    rows: pa.Table, engine: Scripted, store: Path, **changes: object
) -> tuple[list[Anchor], LanguageModelGrounder]:
    values: dict[str, Any] = {"prompt": PromptConfig(), "sampling": Sampling(), "retries": 1}
    values |= {"taxonomy": load_taxonomy()} | changes
    grounder = LanguageModelGrounder(engine, store=Folder(str(store)), **values)
    tables = list(grounder.ground(rows))
    assert all(table.schema.equals(anchor_schema()) for table in tables)
    anchors = [from_row(row) for table in tables for row in table.to_pylist()]
    assert [anchor.phrase_id for anchor in anchors] == rows["phrase_id"].to_pylist()
    return anchors, grounder


def test_equal_questions_are_asked_once_and_still_hands_never(tmp_path):
    engine = Scripted()
    rows = pa.concat_tables([phrases("a", "b", "a", None, ""), phrases("a", form=REST)])

    anchors, grounder = ground(rows, engine, tmp_path)

    assert len(engine.asked) == 3  # a, b, and no words
    assert [anchor.status for anchor in anchors] == ["grounded"] * 5 + ["ungrounded"]
    assert "no hand" in anchors[-1].reason
    assert (grounder.counts["asked_about"], grounder.counts["without_hands"]) == (5, 1)
    assert (grounder.counts["questions"], grounder.counts["calls"]) == (3, 3)
    assert (grounder.counts["reused"], grounder.counts["tokens"]) == (0, 270)


def test_another_corpus_with_the_same_phrases_pays_nothing(tmp_path):
    first, second = Scripted(), Scripted()
    before, _ = ground(phrases("a", "b"), first, tmp_path)

    after, grounder = ground(phrases("b", "a", "b"), second, tmp_path)

    assert second.asked == []
    assert (grounder.counts["reused"], grounder.counts["calls"]) == (2, 0)
    assert [anchor.intent for anchor in after] == [before[i].intent for i in (1, 0, 1)]


@pytest.mark.parametrize(
    "changes",
    [
        {"engine": Scripted(model="another")},
        {"sampling": Sampling(seed=1)},
        {"sampling": Sampling(max_tokens=400)},
        {"prompt": PromptConfig(examples=("listing",))},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_answers_depend_on_is_asked_anew(tmp_path, changes):
    ground(phrases("a"), Scripted(), tmp_path)
    engine = changes.pop("engine", Scripted())
    engine.asked.clear()

    ground(phrases("a"), engine, tmp_path, **changes)

    assert len(engine.asked) == 1


def test_a_changed_prompt_asks_only_what_it_touches(tmp_path):
    rows = phrases("one two three", "one two three four")
    ground(rows, Scripted(), tmp_path, prompt=PromptConfig(max_words=3))
    engine = Scripted()

    ground(rows, engine, tmp_path, prompt=PromptConfig(max_words=4))

    [(question, _)] = engine.asked
    assert "one two three four" in question


def test_what_an_engine_said_before_it_broke_is_kept(tmp_path):
    rows = phrases(*map(str, range(10)))
    engine = Scripted(fails_after=6)
    with pytest.raises(RuntimeError, match="gone"):
        ground(rows, engine, tmp_path)
    again = Scripted()

    anchors, grounder = ground(rows, again, tmp_path)

    assert len(anchors) == 10
    assert grounder.counts["reused"] == 6
    assert not {user for user, _ in again.asked} & {user for user, _ in engine.asked}


def test_malformed_and_cut_off_answers_are_asked_for_again_each_in_its_way(tmp_path):
    def say(question: Question, sampling: Sampling) -> Answer:
        if "cut" in question.user and sampling.max_tokens < 600:
            return Answer(question.key, GOOD[:50], cut_off=True, tokens=sampling.max_tokens)
        if "bad" in question.user and sampling.seed == 7:
            return Answer(question.key, "well", tokens=1)
        return Answer(question.key, GOOD, tokens=90)

    engine = Scripted(say)
    sampling = Sampling(max_tokens=300, seed=7)
    anchors, _ = ground(phrases("good", "cut", "bad"), engine, tmp_path, sampling=sampling)

    assert [anchor.status for anchor in anchors] == ["grounded"] * 3
    assert len(engine.asked) == 5
    retried = {user: sampling for user, sampling in engine.asked[3:]}
    [cut] = [sampling for user, sampling in retried.items() if "cut" in user]
    [bad] = [sampling for user, sampling in retried.items() if "bad" in user]
    assert cut == Sampling(max_tokens=600, seed=7)
    assert bad == Sampling(max_tokens=300, seed=8, temperature=0.7)


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_an_answer_that_stays_bad_fails_with_its_text_and_is_not_paid_for_again(tmp_path, retries):
    engine = Scripted(lambda question, sampling: Answer(question.key, "{never", tokens=3))
    [anchor], _ = ground(phrases("a"), engine, tmp_path, retries=retries)

    assert (anchor.status, anchor.raw) == ("failed", "{never")
    assert "not an answer in the schema" in anchor.reason
    assert len(engine.asked) == retries + 1

    [again], _ = ground(phrases("a"), engine, tmp_path, retries=retries)

    assert again == anchor
    assert len(engine.asked) == retries + 1


def test_a_run_that_died_between_attempts_goes_on_with_the_next(tmp_path):
    engine = Scripted(
        lambda question, sampling: Answer(question.key, "{" if sampling.seed == 0 else GOOD),
        fails_after=4,
    )
    rows = phrases("a", "b", "c", "d")
    with pytest.raises(RuntimeError):
        ground(rows, engine, tmp_path)
    engine.fails_after = None

    anchors, _ = ground(rows, engine, tmp_path)

    assert {anchor.status for anchor in anchors} == {"grounded"}
    assert [sampling.seed for _, sampling in engine.asked] == [0] * 4 + [1] * 4


def test_more_retries_ask_only_what_failed_and_fewer_give_what_they_would(tmp_path):
    engine = Scripted(
        lambda question, sampling: Answer(
            question.key, "{" if "bad" in question.user and sampling.seed == 0 else GOOD
        )
    )
    rows = phrases("good", "bad")

    statuses = [
        [anchor.status for anchor in ground(rows, engine, tmp_path, retries=retries)[0]]
        for retries in (0, 1, 0)
    ]

    assert statuses == [["grounded", "failed"], ["grounded", "grounded"], ["grounded", "failed"]]
    assert len(engine.asked) == 3


def test_a_refused_question_fails_and_is_asked_again_by_the_next_run(tmp_path):
    refuse = Scripted(lambda question, sampling: Answer(question.key, "", refusal="too long"))
    [anchor], _ = ground(phrases("a"), refuse, tmp_path)

    assert (anchor.status, anchor.reason) == ("failed", "the engine refused the phrase: too long")
    assert len(refuse.asked) == 1  # asking again would not make it shorter

    [anchor], grounder = ground(phrases("a"), Scripted(), tmp_path)
    assert (anchor.status, grounder.counts["reused"]) == ("grounded", 0)


def test_an_answer_that_comes_twice_counts_once(tmp_path):
    class Restarted(Scripted):
        def answer(self, *asked):
            for answers in super().answer(*asked):
                yield answers
                yield answers

    _, grounder = ground(phrases("a", "b", "c"), Restarted(), tmp_path)

    assert grounder.counts["calls"] == 3


def test_a_part_that_cannot_be_read_is_named(tmp_path):
    ground(phrases("a"), Scripted(), tmp_path)
    [part] = (tmp_path / CACHE).glob("*/*.parquet")
    part.write_bytes(part.read_bytes()[:-20])

    with pytest.raises(UserError, match=r"grounding-cache.*part that cannot be read.*remove"):
        ground(phrases("a"), Scripted(), tmp_path)


replies = st.sampled_from([GOOD, "{", "", GOOD.replace("growth", "none"), "\x00\ud800"])


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from([RIGHT, REST]))), st.data())
@settings(max_examples=30, deadline=None)
def test_counts_add_up_whatever_the_engine_says(tmp_path_factory, rows, data):
    engine = Scripted(
        lambda question, sampling: Answer(
            question.key, data.draw(replies), refusal=data.draw(st.sampled_from(["", "", "no"]))
        )
    )
    table = pa.concat_tables([phrases(), *(phrases(text, form=form) for text, form in rows)])
    table = table.set_column(0, "phrase_id", pa.array(map(str, range(len(table))), pa.string()))

    anchors, grounder = ground(table, engine, tmp_path_factory.mktemp("store"))

    counts = grounder.counts
    assert len(anchors) == len(rows) == counts["asked_about"] + counts["without_hands"]
    assert counts["questions"] == len({text for text, form in rows if form is RIGHT})
    assert counts["questions"] <= len(engine.asked) <= 2 * counts["questions"]
    for anchor in anchors:
        assert anchor.status != "failed" or "refused" in anchor.reason or "schema" in anchor.reason


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_hundred_thousand_phrases_stay_within_two_gigabytes(tmp_path, count):
    """Of the driver alone, in a process of its own; the engine says the same to all.

    Half a gigabyte is for what is loaded; a tenth of the phrases may take a tenth of the rest.
    """
    script = textwrap.dedent(
        f"""
        import json
        from pathlib import Path
        import pyarrow as pa
        from tests.anchors.engines import Scripted
        from tests.anchors.test_grounding import phrases
        from gestray.anchors.engines import Sampling
        from gestray.anchors.grounding import LanguageModelGrounder
        from gestray.anchors.prompting import PromptConfig
        from gestray.anchors.taxonomy import load_taxonomy
        from gestray.store import Folder

        rows = phrases(*(f"phrase {{n}} of very many, with as many words as people say "
                         f"between two pauses" for n in range({count})))
        engine = Scripted(block=64)
        grounder = LanguageModelGrounder(
            engine, load_taxonomy(), PromptConfig(), Sampling(), 1, Folder({str(tmp_path)!r}))
        count = sum(len(table) for table in grounder.ground(rows))
        # Not `ru_maxrss`, which a process inherits from the one that started it.
        peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
        print(json.dumps([count, len(engine.asked), peak]))
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    answered, asked, peak = json.loads(done.stdout)

    print(f"\n{answered} phrases, peak {peak / 1e9:.2f} GB")
    assert (answered, asked) == (count, count)
    assert peak < 0.5e9 + 1.5e9 * count / 100_000
