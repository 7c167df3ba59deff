"""Recorded gestures for words: which are chosen, which are asked for, and what becomes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gestray.errors import UserError
from gestray.generators.contract import Speech
from gestray.generators.insertions import Insertion, seen
from gestray.generators.marks import Mark, read_marks
from gestray.generators.strategies.contract import STRATEGIES, StrategyName
from gestray.generators.strokes import hand_speeds
from gestray.speech.words import Word
from gestray.store import Folder
from jobs.retrieved import Inserted, RecordedGestures
from tests.generators.artifacts import given_index

WORDS = [
    Word(name, 2.0 + i, 2.4 + i)
    for i, name in enumerate(["no", "idea", "what", "because", "he", "never", "came"])
]


@pytest.fixture(scope="module")
def gestures(takes: Folder, tmp_path_factory: pytest.TempPathFactory) -> RecordedGestures:
    """An index of the synthetic corpus by an untrained encoder; every other phrase a shrug."""
    store = Folder(str(tmp_path_factory.mktemp("store")))
    return RecordedGestures(given_index(store, takes, tmp_path_factory.mktemp("index")))


@pytest.fixture(scope="module")
def idle(takes: Folder) -> np.ndarray:
    """Ten seconds of hanging arms."""
    return np.zeros((360, 165), np.float32)


SPEECH = Speech(np.zeros(0, np.float32), tuple(WORDS))


def told(gestures: RecordedGestures, poses: np.ndarray, **how: Any) -> list[Inserted]:
    return [wish.told for wish in gestures.put_into(poses, SPEECH, **how)[1]]


@pytest.mark.parametrize("name", STRATEGIES)
def test_words_are_chosen_apart_and_every_wish_is_listed(
    gestures: RecordedGestures, idle, name: StrategyName
) -> None:
    strategy = gestures.strategy(name)
    poses, wishes = gestures.put_into(idle, SPEECH, strategy=strategy)
    inserted = [wish.told for wish in wishes]
    starts = [one.start_s for one in inserted]
    # None of these words need be like an annotated one.
    assert (inserted or name == "type") and starts == sorted(starts)
    by_word = {(word.word, word.start_s) for word in WORDS}
    ids = set(gestures._index.rows["phrase_id"].to_pylist())
    for wish in wishes:
        one = wish.told
        assert one.strategy == name and one.why and np.isfinite(one.score)
        assert (one.word, one.start_s) in by_word and one.clip in ids
        assert one.clip_start_s < one.clip_end_s
        assert (one.outcome == "no gesture") == (wish.stroke is None)
        assert (one.outcome == "placed") == (wish.span is not None)
        assert (one.outcome == "placed") == (one.recognised is not None)
        if wish.stroke is not None and wish.span is not None:
            placed = Insertion(wish.stroke, one.start_s, wish.span)
            assert [wish.seen] == seen(idle, poses, [placed], gestures.fastest)
            assert wish.seen is not None and one.recognised == wish.seen.recognised
    shown = [one.start_s for one in inserted if one.outcome != "no gesture"]
    assert np.diff(shown).min(initial=9.0) >= 2.5
    moved = {one.outcome for one in inserted} >= {"placed"}
    assert moved == (np.abs(poses - idle).max() > 0.1)
    assert hand_speeds(poses).max() <= max(gestures.fastest, 6.0)
    assert moved or name != "encoder"


def test_what_is_asked_for_has_the_right_of_way(gestures: RecordedGestures, idle) -> None:
    (one,) = told(gestures, idle, marks=[Mark(3, "shrug")])
    assert (one.word, one.start_s, one.strategy) == ("because", 5.0, "mark")
    assert one.why == "asked for: shrug"
    rows = gestures._index.rows
    intents = dict(zip(rows["phrase_id"].to_pylist(), rows["intent"].to_pylist(), strict=True))
    assert intents[one.clip] == "shrug"
    named = next(clip for clip, intent in intents.items() if intent is None)
    (other,) = told(gestures, idle, marks=[Mark(3, named)])
    assert other.clip == named
    (third,) = told(gestures, idle, marks=[Mark(3, "both hands rise")])
    assert third.clip in intents
    both = told(gestures, idle, marks=[Mark(3, "shrug")], strategy=gestures.strategy("encoder"))
    assert [o.strategy for o in both].count("mark") == 1
    assert all(abs(o.start_s - 5.0) >= 2.5 for o in both if o.strategy != "mark")


def test_an_intent_that_the_index_lacks_is_refused(gestures: RecordedGestures, idle) -> None:
    from gestray.anchors.taxonomy import load_taxonomy

    lacking = next(label for label in load_taxonomy().labels if label != "shrug")
    with pytest.raises(UserError, match=f"no gesture of intent '{lacking}'; it has: shrug"):
        gestures.put_into(idle, SPEECH, marks=[Mark(0, lacking)])


def test_marks_are_read_off_a_text() -> None:
    text = (
        "I have <mark name=\"gesture:shrug\"/> no idea. <mark name='gesture: a big circle'/>None!"
    )
    assert read_marks(text) == (
        "I have  no idea. None!",
        [Mark(2, "shrug"), Mark(4, "a big circle")],
    )
    assert read_marks("plain words") == ("plain words", [])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("so <break/> what", "found '<break/>', expected no other tag"),
        ('so <mark name="here"/> what', "expected no other tag"),
        ("less < more", "expected no other tag"),
        ('the end <mark name="gesture:shrug"/>', "no word follows the mark gesture:shrug"),
    ],
)
def test_what_is_no_mark_is_said(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        read_marks(text)
